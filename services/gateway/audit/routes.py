"""The audits of all services at one address: what anybody may ask, and what residents may (G9)."""

from typing import Annotated

from fastapi import Query

from services.gateway.audit import use_cases
from services.gateway.audit.schemas import Heads, WhoLooked
from shared.actors import Role
from shared.audit.routes import Limit, Spoken, looked_at
from shared.clock import day_of
from shared.contracts.times import Day
from shared.http.router import Router, Work
from shared.problems import language_of
from shared.work import InvalidCursor

published = Router(prefix="/gateway/v1/audit/heads", tags=["audit"])
looking = Router(prefix=looked_at("gateway"), tags=["audit"])


@published.get("", role=Role.ANYONE, open=True)
async def get_audit_heads(
    work: Work, day: Annotated[Day | None, Query(description="In Asia/Shanghai; today if none is named.")] = None
) -> Heads:
    """List the signed heads of all services' audits, for anyone to keep. They contain no personal data.

    A day's chain grows for some minutes after midnight; an earlier head stays true of its first `size` entries.
    """
    return await use_cases.get_audit_heads(work, day or day_of(work.now))


@looking.get("", role=Role.RESIDENT, raises=[InvalidCursor])
async def who_looked_at_me(
    work: Work,
    spoken: Spoken = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=800)] = None,
    limit: Limit = 50,
) -> WhoLooked:
    """List who looked at or used your data, or that of people you act for, in all services.

    What was done, why, the role, the organisation and the time, in the reader's language; never the name of the person.
    A check of your code at a door is an entry of a doorkeeper: its organisation is the service point, its id the visit;
    its result is in `/gateway/v1/visits`. A service that does not answer is named in `missing`.
    """
    return await use_cases.who_looked_at_me(work, cursor, limit, language_of(spoken))
