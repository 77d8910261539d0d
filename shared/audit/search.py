"""Reading the audit: auditors search it, which is audited too, and residents see who used their data."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    column,
    func,
    literal_column,
    select,
    table,
    text,
    tuple_,
)

from shared.audit.acts import act_of, organisation_in_words, purpose_in_words, role_in_words
from shared.audit.canonical import ENTRY_FIELDS
from shared.audit.kinds import Kind
from shared.audit.schemas import MOST_SUBJECTS, AuditEntry, LookedAt
from shared.core.regions import NOTHING
from shared.database.engine import group_of
from shared.database.paging import InvalidCursor, Listed
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language

AUDIT = table(
    "audit",
    column("at", DateTime(timezone=True)),
    *(column(name) for name in ENTRY_FIELDS if name != "at"),
    column("told"),
)
WHOLE = [AUDIT.c[name] for name in ENTRY_FIELDS]
SET_AUDITOR_ROLE = text("SELECT set_config('role', :role, true)")
EVER = datetime(2000, 1, 1, tzinfo=UTC)
NEVER = datetime(3000, 1, 1, tzinfo=UTC)

# The subjects of an entry that the caller may act for. The other subjects are not revealed.
OWN: ColumnElement[Any] = literal_column(
    "ARRAY(SELECT unnest(subjects) INTERSECT SELECT unnest(current_setting('scope.residents')::uuid[]))"
).label("residents")


class Position(NamedTuple):
    """A position in the audit, newest first."""

    at: datetime
    seq: int

    def cursor(self) -> str:
        """Encode the position as a cursor."""
        return urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()


def position_of(cursor: str | None) -> Position | None:
    """Decode a caller's cursor into a position. Raises `InvalidCursor`."""
    if cursor is None:
        return None
    try:
        position = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Position)
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidCursor() from error
    if position.at.tzinfo is None or not 0 <= position.seq < 2**63:
        raise InvalidCursor()
    return position


@dataclass(frozen=True)
class AuditFilter:
    """The filter of a search."""

    subject: UUID | None = None
    actor: str | None = None
    operation: str | None = None
    kind: Kind | None = None
    since: datetime | None = None
    before: datetime | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """Build the SQL conditions."""
        since, before = self.since or EVER, self.before or NEVER
        conditions = [AUDIT.c.at >= since, AUDIT.c.at < before]
        if self.subject is not None:
            about = func.audit_about(self.subject, since, before).table_valued("at", "seq")
            conditions.append(tuple_(AUDIT.c.at, AUDIT.c.seq).in_(select(about.c.at, about.c.seq)))
        for name in ("actor", "operation", "kind"):
            value = getattr(self, name)
            if value is not None:
                conditions.append(AUDIT.c[name] == value)
        return conditions

    def in_words(self) -> str:
        """Describe the filter, for the audit entry of the search."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return " ".join(f"{name}={value}" for name, value in values.items() if value is not None)


async def search_audit(uow: UnitOfWork, where: AuditFilter, after: Position | None, limit: int) -> Listed[AuditEntry]:
    """Search entries within the auditor's scope, newest first. Entries without a region need the whole scope."""
    await uow.rows(SET_AUDITOR_ROLE, role=group_of(uow.context.settings.service, "auditor"))
    rows = await _latest(uow, AUDIT, select(*WHOLE).where(*where.clauses()), after, limit)
    service = uow.context.settings.service
    entries = [_entry(service, row) for row in rows[:limit]]
    shown = {subject for entry in entries for subject in entry.subjects}
    subjects = shown if where.subject is None else {where.subject}
    uow.audit(kind=Kind.SEARCH, subjects=subjects, reason=where.in_words())
    return Listed(items=entries, next_cursor=_position(rows[limit - 1]).cursor() if len(rows) > limit else None)


async def who_looked_here(uow: UnitOfWork, after: Position | None, limit: int, language: Language) -> Listed[LookedAt]:
    """List what was done with the data of the caller and of people the caller acts for, newest first."""
    service = uow.context.settings.service
    names = ("at", "seq", "kind", "operation", "role", "party", "scope", "purpose", "told")
    # MATERIALIZED first selects the caller's entries with the subjects index. Sorting first would read the whole audit.
    mine = select(*(AUDIT.c[name] for name in names), OWN).select_from(AUDIT).cte("mine").prefix_with("MATERIALIZED")
    rows = await _latest(uow, mine, select(mine), after, limit)
    return Listed(
        items=[_looked(service, row, language) for row in rows[:limit]],
        next_cursor=_position(rows[limit - 1]).cursor() if len(rows) > limit else None,
    )


async def _latest(
    uow: UnitOfWork, source: FromClause, query: Select[Any], after: Position | None, limit: int
) -> list[Mapping[str, Any]]:
    """Read the newest entries, one more than the limit, to know whether there is a next page."""
    if after is not None:
        query = query.where(tuple_(source.c.at, source.c.seq) < (after.at, after.seq))
    rows = await uow.rows(query.order_by(source.c.at.desc(), source.c.seq.desc()).limit(limit + 1))
    return [dict(row) for row in rows]


def _position(row: Mapping[str, Any]) -> Position:
    return Position(row["at"], row["seq"])


def _scope(row: Mapping[str, Any]) -> str | None:
    return None if row["scope"] == NOTHING[0] else row["scope"]


def _entry(service: str, row: Mapping[str, Any]) -> AuditEntry:
    subjects = row["subjects"]
    values = {**row, "id": f"{service}-{row['seq']}", "scope": _scope(row)}
    return AuditEntry.model_validate(
        {name: values[name] for name in AuditEntry.model_fields if name in values}
        | {"subjects": subjects[:MOST_SUBJECTS], "subjects_total": len(subjects)}
    )


def _looked(service: str, row: Mapping[str, Any], language: Language) -> LookedAt:
    act = act_of(service, row["operation"], Kind(row["kind"]))
    return LookedAt(
        id=f"{service}-{row['seq']}",
        service=service,
        at=row["at"],
        kind=row["kind"],
        operation=row["operation"],
        what=act.what.render(language),
        why=purpose_in_words(row["purpose"], act, language),
        reason=row["told"],
        role=row["role"],
        role_name=role_in_words(row["role"], language),
        party=row["party"],
        organisation=organisation_in_words(row["role"], row["party"], language),
        region=_scope(row),
        purpose=row["purpose"],
        residents=sorted(row["residents"]),
    )
