"""Temporary files that hold people's data: nothing of them reaches the disk in clear, not even for a moment.

A file of an upload or of a job may be larger than memory allows for. What is written goes to an unnamed temporary file
as AES-256-CTR ciphertext, under a key that this object alone has: when it is gone, so is what lay on the disk.
"""

import io
import os
import tempfile
from typing import IO, Any, BinaryIO, cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BLOCK_BYTES = 16
BUFFER_BYTES = 256 * 1024


def temporary() -> BinaryIO:
    """A temporary file to be written once and read often, from anywhere."""
    return cast("BinaryIO", io.BufferedRandom(_Sealed(), BUFFER_BYTES))


class Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A file in memory that goes to the disk, sealed, when it becomes large."""

    def rollover(self) -> None:
        """Go to the disk."""
        spool = cast("Any", self)
        if spool._rolled:
            return
        memory, spool._file = spool._file, temporary()
        spool._file.write(memory.getvalue())
        spool._file.seek(memory.tell())
        spool._rolled = True


class _Sealed(io.RawIOBase):
    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with this
        self._key = AES(os.urandom(32))
        self._at = 0
        self._written = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation("whoever reads the file itself reads what is sealed")

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._written}[whence] + offset
        if self._at < 0:
            raise ValueError("a place before the beginning")
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        found = self._file.read(len(buffer))
        buffer[: len(found)] = self._through(found)
        self._at += len(found)
        return len(found)

    def write(self, data: Any) -> int:
        # A second text under the same stream of the cipher would betray both.
        if self._at != self._written:
            raise io.UnsupportedOperation("a sealed file is written once, from its beginning to its end")
        sealed = self._through(bytes(data))
        self._file.seek(self._at)
        count = self._file.write(sealed)
        self._at += count
        self._written = self._at
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def _through(self, data: bytes) -> bytes:
        cipher = Cipher(self._key, CTR((self._at // BLOCK_BYTES).to_bytes(BLOCK_BYTES, "big"))).encryptor()
        cipher.update(bytes(self._at % BLOCK_BYTES))
        return cipher.update(data)
