"""Reads all rows of a file before the first is written, so that a file with a broken end changes nothing.

The rows wait in an unnamed temporary file, which disappears even if the process is killed.
"""

import itertools
from collections.abc import Iterator
from typing import IO, BinaryIO

import msgspec

from services.registry.imports.reading import RawRow, read_rows
from services.registry.imports.workbook import Notes

CHUNK = 2_000
"""Rows of one transaction. A longer transaction would delay positives in the feeds too much."""

_LENGTH_BYTES = 4


class Spool:
    """The rows of one file, in chunks."""

    def __init__(self, file: IO[bytes]) -> None:
        self.rows = 0
        self.notes = Notes()
        self._file = file

    def fill(self, file: BinaryIO) -> None:
        """Read an uploaded file to its end. Raises `FileFault`."""
        rows = read_rows(file, self.notes)
        while chunk := list(itertools.islice(rows, CHUNK)):
            self.rows += len(chunk)
            packed = msgspec.msgpack.encode(chunk)
            self._file.write(len(packed).to_bytes(_LENGTH_BYTES, "big"))
            self._file.write(packed)

    def chunks(self) -> Iterator[list[RawRow]]:
        """Yield the chunks from the first row on."""
        self._file.seek(0)
        decoder = msgspec.msgpack.Decoder(list[RawRow])
        while length := self._file.read(_LENGTH_BYTES):
            yield decoder.decode(self._file.read(int.from_bytes(length, "big")))
