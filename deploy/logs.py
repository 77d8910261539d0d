"""One log file per process, limited in size: `<process>.log`, then `.log.1` and so on."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 10 * 1024**2
KEPT = 4
"""Number of files per process, including the current one."""


class LogFile:
    """A log that rotates when it is full, at the end of a line. On a full disk lines are lost, but nothing stops.

    When there is space again, the log first says how much is missing.
    """

    def __init__(self, path: Path, limit: int = LIMIT_BYTES, kept: int = KEPT) -> None:
        self.path, self.limit, self.kept = path, limit, kept
        self._lost = 0
        self._file: BinaryIO | None = None
        self._size = 0
        self._ends_a_line = True

    def write(self, data: bytes) -> None:
        """Append output of a process."""
        try:
            if self._lost:
                self._write_loss()
            if self._size + len(data) > self.limit and self._size:
                data = self._finish_line(data)
                self._turn_over()
            self._append(data)
        except OSError:
            self._lost += len(data)

    def _write_loss(self) -> None:
        lost = self._lost
        line = _line("Some of this log is lost here: it could not be written.", "warning", lost_bytes=lost)
        self._append(line if self._ends_a_line else b"\n" + line)
        self._lost -= lost

    def _finish_line(self, data: bytes) -> bytes:
        if self._ends_a_line:
            return data
        rest_of_line, newline, data = data.partition(b"\n")
        self._append(rest_of_line + newline)
        return data

    def _append(self, data: bytes) -> None:
        if self._file is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "ab", buffering=0)
            self._size = os.fstat(descriptor).st_size
        if data:
            written = self._file.write(data)
            self._lost += len(data) - written  # a disk that fills up accepts only the beginning
            self._size += written
            self._ends_a_line = data[:written].endswith(b"\n")

    def _turn_over(self) -> None:
        self.close()
        for number in range(self.kept - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._size = 0


@dataclass
class Journal:
    """Messages of the supervisor: a structured line in its log, and the sentence on the terminal."""

    file: LogFile
    quiet: bool = False
    _stderr: int = field(default_factory=lambda: sys.stderr.fileno())

    def write_line(self, sentence: str, level: str = "info", **facts: object) -> None:
        """Log a line and print the sentence."""
        self.note(sentence, level, **facts)
        if not self.quiet:
            with contextlib.suppress(OSError):
                os.write(self._stderr, f"{sentence}\n".encode(errors="backslashreplace"))

    def note(self, sentence: str, level: str = "info", **facts: object) -> None:
        """Log a line without printing it."""
        self.file.write(_line(sentence, level, **facts))


def _line(sentence: str, level: str, **facts: object) -> bytes:
    line = {"timestamp": datetime.now(UTC).isoformat(), "level": level, "event": sentence, **facts}
    return json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def show(directory: Path, names: Sequence[str], lines: int) -> Iterator[str]:
    """Yield the last lines of each log, prefixed with the name of the process."""
    for name in names:
        path = directory / f"{name}.log"
        if path.exists():
            yield from (f"{name} | {line}" for line in _last(path, lines))


def follow(directory: Path, names: Sequence[str]) -> Iterator[str]:
    """Yield lines that are added to the logs from now on, without end."""
    return _lines_of({name: _Tail(directory / f"{name}.log") for name in names})


def _lines_of(readers: "dict[str, _Tail]") -> Iterator[str]:
    while True:
        for name, tail in readers.items():
            yield from (f"{name} | {line}" for line in tail.new_lines())
        time.sleep(0.2)


def names_in(directory: Path) -> list[str]:
    """Return the names of the processes that have a log."""
    return sorted(path.stem for path in directory.glob("*.log"))


def last_line(path: Path) -> str:
    """Return the last line of a log, or an empty text if the log is empty."""
    lines = _last(path, 1) if path.exists() else []
    return lines[0] if lines else ""


def _last(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - lines * 2000))
        return file.read().decode(errors="replace").splitlines()[-lines:]


class _Tail:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._rest = b""
        self._file = path.open("rb") if path.exists() else None
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def new_lines(self) -> list[str]:
        data = self._rest + (self._file.read() if self._file else b"")
        if self._was_turned_over():
            if self._file is not None:
                data += self._file.read()  # written between the read and the rotation
                self._file.close()
            self._file = self.path.open("rb")
            data += self._file.read()
        *lines, self._rest = data.split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _was_turned_over(self) -> bool:
        try:
            now = self.path.stat().st_ino
        except FileNotFoundError:
            return False
        return self._file is None or os.fstat(self._file.fileno()).st_ino != now
