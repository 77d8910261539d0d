"""Secrets as files: written once and atomically, readable only by their owner, never overwritten."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_directory(path: Path) -> None:
    """Create a private directory (0700) and its missing parents. An existing one is not changed."""
    for step in reversed([step for step in (path, *path.parents) if not step.exists()]):
        step.mkdir(mode=0o700, exist_ok=True)


def write_once(path: Path, content: str) -> bool:
    """Write a secret (0600) unless the file exists. Returns whether it was written.

    The file appears under its name complete and flushed, or not at all. Of two writers the first one wins.
    """
    make_directory(path.parent)
    with _half_made(path, content) as half_made:
        try:
            os.link(half_made, path)  # a link, unlike a rename, does not replace an existing file
        except FileExistsError:
            return False
    flush_directory(path.parent)
    return True


def replace(path: Path, content: str) -> None:
    """Replace a secret (0600) atomically: a concurrent reader sees the complete old or new one."""
    with _half_made(path, content) as half_made:
        half_made.replace(path)
    flush_directory(path.parent)


@contextmanager
def _half_made(path: Path, content: str) -> Iterator[Path]:
    """Write the content to a flushed temporary file beside the target, and remove it afterwards."""
    half_made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.fsencode(content))  # it may be a path, with any characters
            file.flush()
            os.fsync(file.fileno())
        yield half_made
    finally:
        half_made.unlink(missing_ok=True)


def read(path: Path) -> str:
    """Return the secret in a file."""
    return os.fsdecode(path.read_bytes()).strip()


def password(path: Path) -> str:
    """Return the password in a file. If the file is missing, create one with 192 random bits."""
    if not path.exists():
        write_once(path, secrets.token_urlsafe(24) + "\n")
    return read(path)


def flush_directory(path: Path) -> None:
    """Flush a directory, so that its file names survive a power failure."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
