"""Temporary files with personal data. Their content is never on disk unencrypted.

The file of an upload or a job may be larger than the available memory. The data is written to an unnamed temporary file
as AES-256-CTR ciphertext. Only this object has the key, so the ciphertext is unreadable after the object is gone.
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
    """Create a temporary file that can be written once and read many times at any position."""
    return cast("BinaryIO", io.BufferedRandom(_Encrypted(), BUFFER_BYTES))


class Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A file in memory that moves to disk, encrypted, when it becomes large."""

    def rollover(self) -> None:
        """Move the content to disk."""
        spool = cast("Any", self)
        if spool._rolled:
            return
        memory, spool._file = spool._file, temporary()
        spool._file.write(memory.getvalue())
        spool._file.seek(memory.tell())
        spool._rolled = True


class _Encrypted(io.RawIOBase):
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
        raise io.UnsupportedOperation("reading the file descriptor would return ciphertext")

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._written}[whence] + offset
        if self._at < 0:
            raise ValueError("the position is before the beginning of the file")
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        ciphertext = self._file.read(len(buffer))
        buffer[: len(ciphertext)] = self._through(ciphertext)
        self._at += len(ciphertext)
        return len(ciphertext)

    def write(self, data: Any) -> int:
        # Never overwrite: two plaintexts under the same key stream would reveal both.
        if self._at != self._written:
            raise io.UnsupportedOperation("an encrypted file is written once, from beginning to end")
        ciphertext = self._through(bytes(data))
        self._file.seek(self._at)
        count = self._file.write(ciphertext)
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
