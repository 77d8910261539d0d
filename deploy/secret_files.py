"""Secrets as files: made once, whole or not at all, readable by their owner alone, never overwritten."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_directory(path: Path) -> None:
    """A directory for one's own eyes (0700), and what is missing above it. One that stands already is left as it is."""
    for step in reversed([step for step in (path, *path.parents) if not step.exists()]):
        step.mkdir(mode=0o700, exist_ok=True)


def write_once(path: Path, content: str) -> bool:
    """Write a secret (0600) unless the file is there already; says whether it was written.

    The file appears under its name whole and flushed, or not at all; of two writers the first wins.
    """
    make_directory(path.parent)
    with _half_made(path, content) as half_made:
        try:
            os.link(half_made, path)  # a link, unlike a rename, does not replace what is there
        except FileExistsError:
            return False
    flush_directory(path.parent)
    return True


def replace(path: Path, content: str) -> None:
    """Put a secret (0600) in the place of another: whoever reads meanwhile sees the one or the other, whole."""
    with _half_made(path, content) as half_made:
        half_made.replace(path)
    flush_directory(path.parent)


@contextmanager
def _half_made(path: Path, content: str) -> Iterator[Path]:
    """The content whole and flushed, beside where it is to be; what is left of it goes."""
    half_made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.fsencode(content))  # it may be a path, in any script
            file.flush()
            os.fsync(file.fileno())
        yield half_made
    finally:
        half_made.unlink(missing_ok=True)


def read(path: Path) -> str:
    """The secret in a file."""
    return os.fsdecode(path.read_bytes()).strip()


def password(path: Path) -> str:
    """The password kept in a file; made (192 random bits) if there is none."""
    if not path.exists():
        write_once(path, secrets.token_urlsafe(24) + "\n")
    return read(path)


def flush_directory(path: Path) -> None:
    """Make the names in a directory last through a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
