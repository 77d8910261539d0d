"""Log files: they stay small, lose no line of what fits, and never stop the process that writes."""

import json
import resource
import threading
from pathlib import Path

import pytest

from deploy import logs
from deploy.logs import LogFile


def test_a_full_log_turns_over_at_the_end_of_a_line(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "gateway.log", limit=1000, kept=3)
    for number in range(400):
        log.write(f"line {number:04}\n".encode())
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["gateway.log", "gateway.log.1", "gateway.log.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    kept = "".join(file.read_text() for file in (files[2], files[1], files[0])).splitlines()
    assert kept == [f"line {number:04}" for number in range(400 - len(kept), 400)]
    assert all(file.read_text().endswith("\n") for file in files)


def test_a_line_in_two_pieces_stays_in_one_file(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "gateway.log", limit=30)
    log.write(b"first line\nsecond ")
    log.write(b"line, the rest of it\n")
    log.close()
    assert (tmp_path / "gateway.log.1").read_bytes() == b"first line\nsecond line, the rest of it\n"


def test_a_full_disk_loses_lines_and_stops_nobody() -> None:
    LogFile(Path("/dev/full")).write(b"a line\n")


def test_what_is_lost_is_told_when_there_is_room_again(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "gateway.log")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # a disk with room for ten bytes
        log.write(b"first\nsecond\n")
        log.write(b"third\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.write(b"fourth\n")
    log.write(b"fifth\n")
    first, half, told, *rest = (tmp_path / "gateway.log").read_text().splitlines()
    assert (first, half, rest) == ("first", "seco", ["fourth", "fifth"])
    assert (json.loads(told)["level"], json.loads(told)["lost_bytes"]) == ("warning", 3 + 6)


def test_the_last_lines_of_each_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text("one\ntwo\nthree\n")
    (tmp_path / "postgres.log").write_text("four\n")
    assert logs.names_in(tmp_path) == ["gateway", "postgres"]
    assert list(logs.show(tmp_path, ["gateway", "postgres"], 2)) == [
        "gateway | two",
        "gateway | three",
        "postgres | four",
    ]


def test_what_comes_between_the_look_and_the_turn_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "gateway.log", limit=40)
    log.write(b"before\n")
    lines, was = logs.follow(tmp_path, ["gateway"]), logs._Tail._was_turned_over

    def turned_over(tail: logs._Tail) -> bool:
        log.write(b"the last of the old file\n")
        log.write(b"the first of the new\n")
        return was(tail)

    monkeypatch.setattr(logs._Tail, "_was_turned_over", turned_over)
    assert [next(lines), next(lines)] == ["gateway | the last of the old file", "gateway | the first of the new"]


def test_following_goes_on_over_a_turn(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "gateway.log", limit=60)
    log.write(b"before\n")
    lines = logs.follow(tmp_path, ["gateway"])
    writer = threading.Timer(0.5, lambda: [log.write(f"after {number}\n".encode()) for number in range(12)])
    writer.start()
    assert [next(lines) for _ in range(12)] == [f"gateway | after {number}" for number in range(12)]
    writer.join()
    assert (tmp_path / "gateway.log.1").exists()
