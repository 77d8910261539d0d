"""Regions as reference data: the shipped lists, and files that an operator imports. Done by the owner, not a service.

The tree is nobody's personal data. Loading is one transaction, can be repeated, and deletes nothing: a code that is no
longer in use is kept with the day it was valid until, because people, orders and old ID numbers still name it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from services.registry.regions.files import GBT2260, MOST_FAULTS, SAMPLE, FileFault, Line, Lines, content_of, shipped
from shared.contracts.registry import Region
from shared.core.ids import named_id

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('registry.regions', 7))")

WRITE = text("""
    INSERT INTO registry.regions AS kept (id, region, name, level, parent, valid_from, valid_until)
    SELECT id, region, name, level, parent, valid_from, valid_until
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:region AS text[]), CAST(:name AS text[]), CAST(:level AS text[]),
        CAST(:parent AS text[]), CAST(:valid_from AS date[]), CAST(:valid_until AS date[])
    ) AS line (id, region, name, level, parent, valid_from, valid_until)
    ON CONFLICT (region) DO UPDATE
    SET name = excluded.name,
        valid_from = CASE WHEN :dates THEN excluded.valid_from ELSE kept.valid_from END,
        valid_until = CASE WHEN :dates THEN excluded.valid_until WHEN :revives THEN NULL ELSE kept.valid_until END,
        version = kept.version + 1, updated_at = now()
    WHERE kept.name <> excluded.name
        OR (:dates AND (kept.valid_from, kept.valid_until) IS DISTINCT FROM (excluded.valid_from, excluded.valid_until))
        OR (NOT :dates AND :revives AND kept.valid_until IS NOT NULL)
    RETURNING id, version, region, name, level, valid_from, valid_until
""")

KNOWN = text("SELECT region FROM registry.regions WHERE region = ANY(CAST(:codes AS text[]))")

# People on record there, waiting to be registered there, or being transferred there.
IN_USE = text("""
    SELECT DISTINCT gone.region
    FROM unnest(CAST(:codes AS text[])) AS gone (region)
    WHERE EXISTS (SELECT FROM registry.residents WHERE region >= gone.region AND region < gone.region || '~')
        OR EXISTS (SELECT FROM registry.registrations WHERE region >= gone.region AND region < gone.region || '~')
        OR EXISTS (SELECT FROM registry.transfers WHERE to_region >= gone.region AND to_region < gone.region || '~')
    ORDER BY gone.region
""")

GONE = text("""
    SELECT region FROM registry.regions
    WHERE starts_with(region, :below) AND region <> :below AND valid_until IS NULL
        AND length(region) = ANY(CAST(:lengths AS integer[])) AND NOT region = ANY(CAST(:codes AS text[]))
    ORDER BY region
""")

RETIRE = text("""
    UPDATE registry.regions SET valid_until = :day, version = version + 1, updated_at = now()
    WHERE region = ANY(CAST(:codes AS text[]))
    RETURNING id, version, region, name, level, valid_from, valid_until
""")

PUBLISH = text("""
    INSERT INTO registry.feed (epoch, type, subject, version, region, change, urgent, data)
    SELECT (SELECT max(epoch) FROM registry.feed_epochs), :type, subject, version, region, :change, false, data::json
    FROM unnest(
        CAST(:subject AS uuid[]), CAST(:version AS bigint[]), CAST(:region AS text[]), CAST(:data AS text[])
    ) AS entry (subject, version, region, data)
""")

TRACE = text("""
    INSERT INTO registry.audit (
        epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects
    )
    VALUES (
        (SELECT max(epoch) FROM registry.feed_epochs), 'change', :operation, 'regions', 'operator', 'owner', '', '~',
        '', :reason, '', '{}'
    )
""")

LOADED = text("SELECT obj_description('registry'::regnamespace, 'pg_namespace')")
"""The comment on the schema says which shipped list was loaded last, so that most starts need not read it."""
HAS_COMMUNITIES = text("SELECT EXISTS (SELECT FROM registry.regions WHERE level = 'community')")


@dataclass(frozen=True)
class Outcome:
    """What came of a file."""

    added: int
    changed: int
    unchanged: int
    retired: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Not in the file any more, and still valid because people live there."""


def load_shipped(connection: Connection, *, sample: bool) -> None:
    """Bring the country's list to this version; and, if wanted and there is no community at all, the sample."""
    digest = hashlib.sha256(content_of(GBT2260)).hexdigest()
    if connection.execute(LOADED).scalar() != digest:
        _write(connection, shipped(GBT2260))
        connection.execute(text(f"COMMENT ON SCHEMA registry IS '{digest}'"))
    if sample and not connection.execute(HAS_COMMUNITIES).scalar():
        _write(connection, shipped(SAMPLE))


def import_file(connection: Connection, lines: Lines, operation: str) -> Outcome:
    """Add and rename what a file says. Raises FileFault for regions whose parent is nowhere."""
    connection.execute(LOCK)
    return _bring(connection, lines, operation, revives=False)


def update_from_file(connection: Connection, lines: Lines, below: str, day: date, operation: str) -> Outcome:
    """As an import of the whole list below a region: what it no longer names is valid until `day`.

    Only levels that the file has are looked at. A region where people live stays valid: they are moved first.
    """
    connection.execute(LOCK)
    if outside := [line for line in lines.regions if not line.code.startswith(below)]:
        raise FileFault(
            [f"line {line.number}: {line.code} does not lie below {below}" for line in outside][:MOST_FAULTS]
        )
    outcome = _bring(connection, lines, operation, revives=True)
    codes = [line.code for line in lines.regions]
    lengths = sorted({len(code) for code in codes} - {len(below)})
    gone = [row.region for row in connection.execute(GONE, {"below": below, "codes": codes, "lengths": lengths})]
    kept = tuple(row.region for row in connection.execute(IN_USE, {"codes": gone}))
    retired = [code for code in gone if code not in kept]
    rows = connection.execute(RETIRE, {"codes": retired, "day": day}).mappings().all()
    _publish(connection, map(_public, rows), "changed")
    return Outcome(outcome.added, outcome.changed, outcome.unchanged, tuple(retired), kept)


def exists(connection: Connection, code: str) -> bool:
    """Whether there is a region of this code."""
    return connection.execute(KNOWN, {"codes": [code]}).first() is not None


def _bring(connection: Connection, lines: Lines, operation: str, *, revives: bool) -> Outcome:
    here = {line.code for line in lines.regions}
    above = {line.parent for line in lines.regions if line.parent} - here
    known = {row.region for row in connection.execute(KNOWN, {"codes": sorted(above)})}
    if orphans := [line for line in lines.regions if line.parent and line.parent not in here | known]:
        faults = [f"line {line.number}: {line.code} lies below {line.parent}, which is nowhere" for line in orphans]
        raise FileFault(faults[:MOST_FAULTS], len(faults))
    written = [_public(row) for row in _write(connection, lines, revives=revives)]
    added = [region for region in written if region.version == 1]
    changed = [region for region in written if region.version > 1]
    _publish(connection, added, "added")
    _publish(connection, changed, "changed")
    reason = json.dumps({"added": len(added), "changed": len(changed), "of": len(lines.regions)})
    connection.execute(TRACE, {"operation": operation, "reason": reason})
    return Outcome(len(added), len(changed), len(lines.regions) - len(written))


def _write(connection: Connection, lines: Lines, *, revives: bool = False) -> Sequence[Any]:
    columns = _columns_of(lines.regions)
    return connection.execute(WRITE, columns | {"dates": lines.has_dates, "revives": revives}).mappings().all()


def _columns_of(regions: Sequence[Line]) -> dict[str, Any]:
    return {
        "id": [named_id("region", line.code) for line in regions],
        "region": [line.code for line in regions],
        "name": [line.name for line in regions],
        "level": [line.level for line in regions],
        "parent": [line.parent for line in regions],
        "valid_from": [line.valid_from for line in regions],
        "valid_until": [line.valid_until for line in regions],
    }


def _public(row: Any) -> Region:
    return Region(**row)


def _publish(connection: Connection, regions: Iterable[Region], change: str) -> None:
    told = list(regions)
    if told:
        columns = {
            "subject": [region.id for region in told],
            "version": [region.version for region in told],
            "region": [region.region for region in told],
            "data": [region.model_dump_json() for region in told],
        }
        connection.execute(PUBLISH, columns | {"type": Region.type, "change": change})
