"""Temporary files: what is written comes back, and the disk never has it in clear."""

import io
import os
import random
from collections.abc import Iterator

import pytest

from shared.crypto.encrypted_files import Spool, temporary
from shared.http.bodies import StrictRequest

NEEDLE = "欧阳鎏曌,350582199001011234\n".encode()
LARGE = NEEDLE * 60_000
"""Larger than what a form keeps in memory."""


def on_disk() -> Iterator[bytes]:
    """The content of every file this process has open, named or not."""
    for name in os.listdir("/proc/self/fd"):
        try:
            handle = os.open(f"/proc/self/fd/{name}", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if os.path.isfile(f"/proc/self/fd/{handle}"):
                yield os.pread(handle, len(LARGE), 0)
        except OSError:
            continue
        finally:
            os.close(handle)


def test_what_is_written_is_read_again_from_anywhere() -> None:
    content, chance = random.Random(1).randbytes(700_001), random.Random(2)
    with temporary() as file:
        for start in range(0, len(content), 9_973):
            file.write(content[start : start + 9_973])
        for _ in range(200):
            at, size = chance.randrange(len(content)), chance.randrange(70_000)
            file.seek(at)
            assert file.read(size) == content[at : at + size]
        assert file.seek(0, io.SEEK_END) == len(content)
        file.seek(-7, io.SEEK_END)
        assert file.read() == content[-7:]


def test_the_disk_has_no_word_of_it() -> None:
    with temporary() as file:
        file.write(LARGE)
        file.flush()
        assert not any(NEEDLE in content for content in on_disk())
        file.seek(0)
        assert file.read() == LARGE


def test_the_search_finds_what_lies_there_in_clear(tmp_path) -> None:
    with (tmp_path / "clear").open("wb") as file:
        file.write(LARGE)
        file.flush()
        assert any(NEEDLE in content for content in on_disk())


def test_it_is_written_once() -> None:
    with temporary().detach() as file:
        file.write(b"one")
        file.seek(0)
        with pytest.raises(io.UnsupportedOperation, match="once"):
            file.write(b"two")


def test_a_spool_goes_to_the_disk_sealed_and_reads_the_same() -> None:
    with Spool(max_size=1_000) as spool:
        for start in range(0, len(LARGE), 65_536):
            spool.write(LARGE[start : start + 65_536])
        assert not any(NEEDLE in content for content in on_disk())
        spool.seek(0)
        assert spool.read() == LARGE


async def test_the_file_of_a_form_never_lies_on_the_disk_in_clear() -> None:
    head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.csv"\r\ncontent-type: text/csv\r\n\r\n'
    body = head + LARGE + b'\r\n--x\r\ncontent-disposition: form-data; name="dry_run"\r\n\r\ntrue\r\n--x--\r\n'

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    form = await StrictRequest({"type": "http", "method": "POST", "headers": headers}, receive).form()
    assert not any(NEEDLE in content for content in on_disk())
    assert (await form["file"].read(), form["dry_run"]) == (LARGE, "true")
    await form.close()
