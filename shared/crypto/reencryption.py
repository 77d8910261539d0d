"""Re-encryption: a job that encrypts old ciphertexts with the newest data key of their month, while the service runs.

It processes every encrypted column in chunks of rows, each chunk one transaction, and stores its position in the result
of the job. After a kill it continues after the last chunk. Rows keep their versions, because no public content changes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.core.settings import Service
from shared.crypto import encryption
from shared.crypto.encryption import CannotOpenError, Keyring
from shared.crypto.key_files import SPREAD_SECONDS
from shared.database.rows import declare_tables
from shared.database.unit_of_work import UnitOfWork
from shared.jobs.queue import Run
from shared.runtime.context import KEYS_LOOK_SECONDS

KIND = "reseal"
ROWS = 500


@dataclass(frozen=True, slots=True)
class EncryptedColumns:
    """The encrypted columns of one table, the key that orders its rows, and the column that binds the ciphertexts."""

    table: str
    columns: tuple[tuple[str, str], ...]
    """Each column with its place in the associated data. The value of the column `part` replaces `{part}`."""
    key: tuple[tuple[str, str], ...] = (("id", "uuid"),)
    bound_to: str = "id"
    rows: int = field(default_factory=lambda: ROWS)


IN_EVERY_SERVICE = (
    EncryptedColumns("idempotency", (("answer", "idempotency.answer"),)),
    EncryptedColumns("proposals", (("reason_sealed", "proposals.reason"), ("decision_sealed", "proposals.decision"))),
    EncryptedColumns(
        "uploads", (("sealed", "uploads.{part}"),), (("job_id", "uuid"), ("part", "integer")), "job_id", rows=8
    ),
)
"""The encrypted columns of every service. Parts of files have a megabyte, so their chunks are small."""

BESIDES: dict[str, tuple[EncryptedColumns, ...]] = {
    "registry": (
        EncryptedColumns(
            "import_errors", (("row_sealed", "import_errors.row"),), (("job_id", "uuid"), ("line", "integer")), "job_id"
        ),
    ),
}
"""Encrypted columns of tables without an id column."""


def encrypted_columns_of(service: Service) -> list[EncryptedColumns]:
    """Return all encrypted columns of a service, by table."""
    declare_tables(service)
    by_table: dict[str, list[tuple[str, str]]] = {}
    for table, column, target in encryption.declared(service):
        by_table.setdefault(table, []).append((column, target))
    return [
        *(EncryptedColumns(table, tuple(columns)) for table, columns in sorted(by_table.items())),
        *BESIDES.get(service, ()),
        *IN_EVERY_SERVICE,
    ]


async def reencrypt(job: Run) -> None:
    """Encrypt all ciphertexts of older data keys with the newest data key of their month."""
    # Wait until every process encrypts with the newest keys. Otherwise new ciphertexts under old keys could remain.
    await asyncio.sleep((SPREAD_SECONDS + KEYS_LOOK_SECONDS * 2) * job.context.settings.key_waits)
    targets = encrypted_columns_of(job.context.settings.service)
    begun = [target.table for target in targets].index(job.result["table"]) if "table" in job.result else 0
    for target in targets[begun:]:
        if job.result.get("table") != target.table:
            job.result |= {"table": target.table, "after": None}
        while await _chunk(job, target):
            pass


async def _chunk(job: Run, target: EncryptedColumns) -> bool:
    """Re-encrypt the next rows of a table. Return whether there may be more."""
    after = job.result["after"]
    async with job.unit_of_work() as uow:
        rows = await uow.rows(text(_page(target, bool(after))), **_named(target, after), limit=target.rows)
        changed, unreadable = 0, 0
        for column, where in target.columns:
            values = [_anew(job.context.keyring, target, where, row, column) for row in rows]
            unreadable += sum(value == b"" for value in values)
            changed += await _write(uow, target, column, rows, values)
        if rows:
            job.result["after"] = [str(rows[-1][name]) for name, _ in target.key]
        await job.progress(uow, len(rows), sealed=changed, unreadable=unreadable)
    return len(rows) == target.rows


def _anew(ring: Keyring, target: EncryptedColumns, where: str, row: RowMapping, column: str) -> bytes | None:
    """Re-encrypt one value. Return None if it is current, and empty bytes if it cannot be decrypted."""
    ciphertext = row[column]
    if ciphertext is None or not ring.is_old(bytes(ciphertext)):
        return None
    bound_to: UUID = row[target.bound_to]
    try:
        return ring.reencrypt(where.format(**row), bound_to, bytes(ciphertext))
    except CannotOpenError:
        return b""


async def _write(
    uow: UnitOfWork, target: EncryptedColumns, column: str, rows: Sequence[RowMapping], values: list[bytes | None]
) -> int:
    changes = [(row, ciphertext) for row, ciphertext in zip(rows, values, strict=True) if ciphertext]
    if not changes:
        return 0
    keys = {f"k{at}": [row[name] for row, _ in changes] for at, (name, _) in enumerate(target.key)}
    return await uow.run(text(_update(target, column)), **keys, sealed=[ciphertext for _, ciphertext in changes])


def _page(target: EncryptedColumns, following: bool) -> str:
    names = ", ".join(name for name, _ in target.key)
    columns = ", ".join(column for column, _ in target.columns)
    given = ", ".join(f"CAST(:k{at} AS {kind})" for at, (_, kind) in enumerate(target.key))
    where = f"WHERE ({names}) > ({given})" if following else ""
    return f"SELECT {names}, {columns} FROM {target.table} {where} ORDER BY {names} LIMIT :limit FOR UPDATE"  # noqa: S608


def _update(target: EncryptedColumns, column: str) -> str:
    arrays = ", ".join(f"CAST(:k{at} AS {kind}[])" for at, (_, kind) in enumerate(target.key))
    names = ", ".join(f"k{at}" for at, _ in enumerate(target.key))
    same = " AND ".join(f"held.{name} = given.k{at}" for at, (name, _) in enumerate(target.key))
    return f"""
        UPDATE {target.table} AS held SET {column} = given.sealed
        FROM unnest({arrays}, CAST(:sealed AS bytea[])) AS given ({names}, sealed) WHERE {same}
    """  # noqa: S608


def _named(target: EncryptedColumns, after: list[str] | None) -> dict[str, Any]:
    if not after:
        return {}
    return {
        f"k{at}": UUID(value) if kind == "uuid" else int(value)
        for at, (value, (_, kind)) in enumerate(zip(after, target.key, strict=True))
    }
