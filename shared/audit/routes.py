"""Audit routes of every service: for auditors, for residents, and for the gateway, which publishes the heads."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Header, Query

from shared.audit import search as use_cases
from shared.audit.heads import Head, head_now
from shared.audit.kinds import Kind
from shared.audit.schemas import AuditEntry, LookedAt
from shared.audit.search import AuditFilter, position_of
from shared.contracts.times import Instant
from shared.core.actors import Role
from shared.core.settings import Service
from shared.database.paging import MOST_PER_PAGE, InvalidCursor, Listed
from shared.http.router import Router, Uow
from shared.problems import language_of

HEADS = "/internal/audit/heads"

Spoken = Annotated[str | None, Header(alias="Accept-Language", description="zh-CN or en.", max_length=200)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the previous page.", max_length=200)]
Limit = Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="Maximum number of items per page.")]
Text = Annotated[str | None, Query(description="The actor, as in the entry.", min_length=1, max_length=200)]


def audit_routers(service: Service) -> list[Router]:
    """Build the routes of one service's audit."""
    return [_searching(service), _heads(), *([] if service == "gateway" else [_looking(service)])]


def looked_at(service: Service) -> str:
    """Return the path where residents see who used their data in a service. The gateway combines all services."""
    return f"/{service}/v1/who-looked-at-me"


def _searching(service: Service) -> Router:
    router = Router(prefix=f"/{service}/v1/audit", tags=["audit"])

    @router.get("", role=Role.AUDITOR, audit=Kind.SEARCH, raises=[InvalidCursor])
    async def search_audit(
        uow: Uow,
        subject: Annotated[UUID | None, Query(description="The resident whose data was used.")] = None,
        actor: Text = None,
        operation: Annotated[
            str | None, Query(description="As in the entry: the method and the path template.", max_length=200)
        ] = None,
        kind: Annotated[Kind | None, Query(description="Only acts of this kind.")] = None,
        since: Annotated[Instant | None, Query(description="At or after this time.")] = None,
        before: Annotated[Instant | None, Query(description="Before this time.")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Listed[AuditEntry]:
        """Search this service's audit, newest first.

        Auditors see acts on behalf of their region. Auditors of the whole installation also see acts without a region.
        The search itself is audited.
        """
        where = AuditFilter(subject, actor, operation, kind, since, before)
        return await use_cases.search_audit(uow, where, position_of(cursor), limit)

    return router


def _looking(service: Service) -> Router:
    router = Router(prefix=looked_at(service), tags=["audit"])

    @router.get("", role=Role.RESIDENT, raises=[InvalidCursor])
    async def who_looked_here(
        uow: Uow, spoken: Spoken = None, cursor: Cursor = None, limit: Limit = 50
    ) -> Listed[LookedAt]:
        """List who looked at or used your data, or that of people you act for, in this service.

        Each item gives what was done, why, the role, the organisation and the time, in the reader's language. It never
        gives the name of a person. Newest first.
        """
        return await use_cases.who_looked_here(uow, position_of(cursor), limit, language_of(spoken))

    return router


def _heads() -> Router:
    router = Router(prefix=HEADS, tags=["audit"])

    @router.get("", role=Role.SERVICE, include_in_schema=False)
    async def read_head(uow: Uow, day: date) -> Head:
        """Show the signed head of one day of this service's audit."""
        return await head_now(uow, day)

    return router
