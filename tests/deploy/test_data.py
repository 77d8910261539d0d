"""The data directory: what may be used as one, by one at a time, and that a failed first start leaves nothing."""

import errno
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import data, up
from deploy.doctor import machine
from deploy.doctor.finding import Target
from deploy.trouble import Trouble


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version").write_text(f"{data.FORMAT + 1}\n")
    with pytest.raises(Trouble, match="newer Fangxian"):
        data.check(data.at(tmp_path))


def test_a_format_that_is_no_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("")
    with pytest.raises(Trouble, match="must contain a number"):
        data.check(data.at(tmp_path))


def test_a_directory_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    with pytest.raises(Trouble, match=r"contains other files \(thesis\.odt\)"):
        data.check(data.at(tmp_path))


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(Trouble, match="not a directory"):
        data.check(data.at(tmp_path / "data"))


def test_a_full_disk_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 0, data.LEAST_FREE_BYTES - 1))
    with pytest.raises(Trouble, match="is full"):
        data.check(data.at(tmp_path / "a" / "data"))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_held_once(tmp_path: Path) -> None:
    directory = data.at(tmp_path / "data")
    with data.taken(directory):
        data.complete(directory)
        assert data.holder(directory) == os.getpid()
        with pytest.raises(Trouble, match=f"process {os.getpid()}"):
            data.hold(directory)
        with pytest.raises(Trouble, match=f"process {os.getpid()}"):
            data.remove(directory)
    assert data.holder(directory) is None


def test_a_failed_first_start_leaves_nothing(tmp_path: Path) -> None:
    directory = data.at(tmp_path / "not" / "there" / "data")

    def fail_after_making_something() -> None:
        with data.taken(directory):
            (directory.path / "keys").mkdir()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_making_something()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_full_for_a_process_id_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"), data.taken(data.at(tmp_path / "data")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failed_first_start_leaves_the_directory_that_was_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(RuntimeError), data.taken(data.at(tmp_path)):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_later_failure_leaves_everything(tmp_path: Path) -> None:
    directory = data.at(tmp_path / "data")
    with data.taken(directory):
        (directory.path / "keys").mkdir()
        data.complete(directory)
    with pytest.raises(RuntimeError), data.taken(directory):
        raise RuntimeError
    assert {path.name for path in directory.path.iterdir()} == {"version", "lock", "keys", "logs"}


def test_what_was_put_back_stays_though_the_first_start_fails(tmp_path: Path) -> None:
    """Keys from a backup may be the only ones: a wrong DATABASE_URL is no reason to remove them."""
    directory = data.at(tmp_path / "data")
    directory.keys.mkdir(parents=True)
    (directory.keys / "master.key").write_text("the only one")

    def fail_after_making_something() -> None:
        with data.taken(directory):
            directory.cluster.touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_making_something()
    assert [path.name for path in directory.path.iterdir()] == ["keys"]
    assert (directory.keys / "master.key").read_text() == "the only one"


STRANGER = 65_534


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("", "{path} cannot be written by this user"), ("a/data", "{path} cannot be created in {place} by this user")],
    ids=["there", "to be made"],
)
def test_a_directory_without_permission_is_refused_by_start_and_doctor(place: Path, name: str, sentence: str) -> None:
    """As somebody else, since root may do anything."""
    theirs = place / "theirs"
    theirs.mkdir()
    theirs.chmod(0o555)
    path = theirs / name
    said = as_somebody_else(lambda: refusal_and_finding(path))
    assert said.count(sentence.format(path=path, place=theirs)) == 2, said
    assert "WRONG" in said
    assert list(theirs.iterdir()) == []


def refusal_and_finding(path: Path) -> str:
    options = up.Options(path)
    try:
        data.check(data.at(path))
        refusal = "nothing was refused"
    except Trouble as trouble:
        refusal = str(trouble)
    (finding,) = machine.directory(Target(options, data.at(path), None))
    return f"{refusal}\n{'WRONG' if finding.is_failure else 'ok'} {finding.result}"


def as_somebody_else(act: Callable[[], str]) -> str:
    """What it says in a process of another user; of our own where we are no root."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(STRANGER)
                os.setuid(STRANGER)
            os.write(writer, act().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        text = said.read().decode()
    os.waitpid(pid, 0)
    return text
