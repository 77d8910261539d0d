"""The data directory: what may be used as one, by one at a time, and that a failed first start leaves nothing."""

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from deploy import data
from deploy.trouble import Trouble


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version").write_text(f"{data.FORMAT + 1}\n")
    with pytest.raises(Trouble, match="newer Fangxian"):
        data.check(data.at(tmp_path))


def test_a_format_that_is_no_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("")
    with pytest.raises(Trouble, match="should hold a number"):
        data.check(data.at(tmp_path))


def test_a_directory_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    with pytest.raises(Trouble, match=r"holds other things \(thesis\.odt\)"):
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
