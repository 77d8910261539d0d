"""The rows of `fangxian keys list`: every key by its id, never the key itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg

from deploy import key_versions
from deploy.own_servers import as_role
from deploy.up import Installation
from shared.core.settings import SERVICES
from shared.crypto import key_files
from shared.crypto.key_files import Version

DATA_KEYS = "SELECT id, master, made_at, seals_from, destroyed_at FROM {service}.data_keys ORDER BY id"


class Listed(NamedTuple):
    """One row: a key."""

    kind: str
    id: str
    state: str
    begins: str
    ends: str
    wrapped_by: str
    """For a data key: the id of the master key that wraps it."""


async def rows_of(installation: Installation) -> list[Listed]:
    """Return all keys of an installation."""
    directory, now = installation.directory.keys, key_files.now()
    found = []
    if installation.settings("registry").master_keys == "file":
        found += _of_file("master", key_versions.versions(directory, "master"), now)
    for kind in ("index", *SERVICES, "issuer", "code"):
        found += _of_file(kind, key_versions.versions(directory, kind), now)
    connection = await asyncpg.connect(as_role(installation.owner_url))
    try:
        for service in SERVICES:
            found += _of_service(service, await connection.fetch(DATA_KEYS.format(service=service)))
    finally:
        await connection.close()
    return found


def _of_file(kind: str, versions: Sequence[Version], now: float) -> list[Listed]:
    current = key_files.in_use(versions, now).id
    trusted = {version.id for version in key_files.trusted(versions, now)}
    found = []
    for version in versions:
        state = "in use" if version.id == current else "known" if version.id in trusted else "ended"
        if version.begins > now:
            state = "begins"
        found.append(Listed(kind, version.id, state, _time(version.begins), _time(version.ends), ""))
    return found


def _of_service(service: str, rows: Sequence[asyncpg.Record]) -> list[Listed]:
    now = datetime.now(UTC)
    found = []
    for row in rows:
        state = "destroyed" if row["destroyed_at"] else "begins" if row["seals_from"] > now else "in use"
        began, ended = _short(row["seals_from"]), _short(row["destroyed_at"])
        found.append(Listed(f"data {service}", str(row["id"]), state, began, ended, row["master"] or "?"))
    return found


def _time(seconds: float | None) -> str:
    return _short(datetime.fromtimestamp(seconds, UTC) if seconds else None)


def _short(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if time else ""
