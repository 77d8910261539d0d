"""`fangxian audit export` and `verify`: the audit of a day as a file that can be checked on any machine."""

import asyncio
import getpass
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from deploy import data
from deploy.audit import verify_audit, verify_visits, visits
from deploy.feed import installed
from deploy.own_servers import as_role
from deploy.trouble import Trouble
from deploy.up import Installation, Options
from shared.audit.canonical import ENTRY_FIELDS, EXPORT, beginning, canonical, entry_of, head_of
from shared.audit.kinds import Kind
from shared.audit.signing import key_of, signed
from shared.core import clock
from shared.core.clock import start_of
from shared.core.settings import SERVICES, Service
from shared.crypto.tokens import Signer

T = TypeVar("T")

DAYS = "SELECT DISTINCT day FROM {s}.audit_seals ORDER BY day"
CHAINED = "SELECT position, seq, hash FROM {s}.audit_seals WHERE day = $1 ORDER BY position"
ENTRIES = "SELECT {fields} FROM {s}.audit WHERE at >= $1 AND at < $2 AND seq = ANY($3)"
# Entries that the sealer passed without sealing them: somebody inserted them later.
UNCHAINED = """
    SELECT {fields} FROM {s}.audit AS entry
    WHERE at >= $1 AND at < $2
      AND (epoch, xid, seq) <= (SELECT epoch, xid, seq FROM {s}.audit_sealed)
      AND NOT EXISTS (SELECT FROM {s}.audit_seals AS seal WHERE seal.day = $3 AND seal.seq = entry.seq)
    ORDER BY seq
"""
GONE = "SELECT EXISTS (SELECT FROM {s}.audit_heads WHERE day = $1)"
FIELDS = ", ".join(ENTRY_FIELDS)
RECORD_IN_AUDIT = """
    INSERT INTO {s}.audit (
        epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects
    )
    VALUES (
        (SELECT max(epoch) FROM {s}.feed_epochs), $1, $2, $3, $4, 'owner', '', '~', '', '', '', '{{}}'
    )
"""
PAGE = 1_000


def export(options: Options, day: date, services: Sequence[Service], out: Path, command: str = "export") -> int:
    """Write the sealed entries of a day to a file. Returns their number. The audit records the export first."""

    async def act(connection: asyncpg.Connection, installation: Installation) -> int:
        count = 0
        there = [one for one in services if not await connection.fetchval(GONE.format(s=one), day)]
        if not there:
            raise Trouble(f"The entries of {day} were removed after their period. Only the heads of the day are left.")
        with out.open("wb") as file:
            for service in there:
                await _record(connection, service, f"fangxian audit {command}", day)
                signer = Signer.from_files(service, installation.directory.keys / service)
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    async for line in lines(connection, signer, day):
                        file.write(line + b"\n")
                        count += line.startswith(b'{"entry":')
        return count

    return asyncio.run(_as_owner(installed(options), act))


def export_visits(options: Options, day: date, audit: Path, out: Path) -> int:
    """Write the visits that were sealed on a day, by its exported audit. Returns their number. The audit records it."""
    sealed = audit.read_bytes()

    async def act(connection: asyncpg.Connection, _: Installation) -> int:
        await _record(connection, "gateway", "fangxian audit export visits", day)
        count = 0
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            with out.open("wb") as file:
                async for line in visits.lines(connection, day, sealed):
                    file.write(line + b"\n")
                    count += line.startswith(b'{"visit":')
        return count

    return asyncio.run(_as_owner(installed(options), act))


def verify(options: Options, file: Path, heads: Sequence[str], keys: Path | None, of_visits: Path | None = None) -> int:
    """Check an export with the given keys, or with those of the installation. Returns 1 if something is wrong."""
    believed = keys or own_keys(options.data)
    words = [word for path in heads for word in ("--head", path)]
    words = [str(file), *words, *(("--keys", str(believed)) if believed else ())]
    return verify_visits.main([str(of_visits), *words]) if of_visits else verify_audit.main(words)


def verify_all(options: Options, day: datetime | None, heads: Sequence[str]) -> int:
    """Check the database, day by day. Returns 1 if something is wrong."""
    try:
        kept = verify_audit.heads_in(heads)
    except (OSError, ValueError) as error:
        raise Trouble(f"The heads cannot be read: {error}.") from None
    installed(options)  # raises Trouble if nothing runs
    found_keys = own_keys(options.data)
    if found_keys is None:
        raise Trouble(f"The public keys of {options.data} are missing. Restore keys/owner/services.jwks from a backup.")
    public = verify_audit.keys_of(json.loads(found_keys.read_text(encoding="utf-8")))
    found = 0
    with tempfile.TemporaryDirectory() as directory:
        for one in [day.date()] if day else chained_days(options):
            path = Path(directory) / "export"
            export(options, one, SERVICES, path, "verify")
            of_day = [head for head in kept if head["day"] == one.isoformat()]
            found |= verify_audit.report(path.read_bytes(), public, of_day)
            found |= asyncio.run(_as_owner(installed(options), _visits_of(one, path.read_bytes())))
    return found


def _visits_of(day: date, audit: bytes) -> Callable[[asyncpg.Connection, Installation], Awaitable[int]]:
    """Return a check of the visits that were sealed on a day, with the seals in its audit."""

    async def act(connection: asyncpg.Connection, _: Installation) -> int:
        name = f"visits {day}"
        with tempfile.TemporaryFile() as file:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                async for line in visits.lines(connection, day, audit):
                    file.write(line + b"\n")
                purged = await visits.purged_before(connection)
            file.seek(0)
            try:
                links = verify_visits.links_of(verify_visits.entries_in([audit]), day.isoformat())
                batches = verify_visits.opened(file)[1]
            except verify_visits.Finding as finding:
                print(f"{name}: {finding.kind.upper()}: {finding}")
                return 1
            return verify_visits.report(batches, links, purged, name)

    return act


def own_keys(path: Path) -> Path | None:
    """Return the file with the public keys of the installation in a directory, if it exists."""
    found = data.at(path).keys / "owner" / "services.jwks"
    return found if found.is_file() else None


def chained_days(options: Options) -> list[date]:
    """Return the days that have a chain in any service."""
    return asyncio.run(_as_owner(installed(options), _days))


async def _as_owner(installation: Installation, act: Callable[[asyncpg.Connection, Installation], Awaitable[T]]) -> T:
    connection = await asyncpg.connect(as_role(installation.owner_url), server_settings={"timezone": "UTC"})
    try:
        return await act(connection, installation)
    finally:
        await connection.close()


async def _days(connection: asyncpg.Connection, _: Installation) -> list[date]:
    found = {row["day"] for service in SERVICES for row in await connection.fetch(DAYS.format(s=service))}
    return sorted(found)


async def _record(connection: asyncpg.Connection, service: Service, operation: str, day: date) -> None:
    who = f"owner:{getpass.getuser()}"
    await connection.execute(RECORD_IN_AUDIT.format(s=service), Kind.EXPORT.value, operation, day.isoformat(), who)


async def lines(connection: asyncpg.Connection, signer: Signer, day: date) -> AsyncIterator[bytes]:
    """Yield one day of one service: the header, the entries in the order of the chain, and the head."""
    service = signer.service
    yield canonical({"format": EXPORT, "service": service, "day": day.isoformat()})
    size, end = 0, beginning(service, day)
    links = connection.cursor(CHAINED.format(s=service), day)
    page: list[Any] = []
    async for link in links:
        page.append(link)
        size, end = link["position"], bytes(link["hash"])
        if len(page) == PAGE:
            for line in await _page(connection, service, day, page):
                yield line
            page = []
    for line in await _page(connection, service, day, page):
        yield line
    for row in await connection.fetch(UNCHAINED.format(s=service, fields=FIELDS), *_bounds(day), day):
        yield canonical({"position": None, "hash": None, "entry": entry_of(row)})
    yield canonical(signed(signer, head_of(service, day, size, end, clock.now(), key_of(signer))))


async def _page(connection: asyncpg.Connection, service: Service, day: date, links: Sequence[Any]) -> list[bytes]:
    """Return the lines of some seals. A removed entry is null."""
    rows = await connection.fetch(
        ENTRIES.format(s=service, fields=FIELDS), *_bounds(day), [link["seq"] for link in links]
    )
    entries = {row["seq"]: entry_of(row) for row in rows}
    return [
        canonical({"position": link["position"], "hash": link["hash"].hex(), "entry": entries.get(link["seq"])})
        for link in links
    ]


def _bounds(day: date) -> tuple[Any, Any]:
    return start_of(day), start_of(day + timedelta(days=1))
