"""Routes to the audits of all services: published heads, and accesses to a resident's own data (G9)."""

from typing import Annotated

from fastapi import Query

from services.gateway.audit import use_cases
from services.gateway.audit.schemas import Heads, WhoLooked
from shared.audit.routes import Limit, Spoken, looked_at
from shared.contracts.times import Day
from shared.core.actors import Role
from shared.core.clock import day_of
from shared.database.paging import InvalidCursor
from shared.http.router import Router, Uow
from shared.problems import language_of

published = Router(prefix="/gateway/v1/audit/heads", tags=["audit"])
looking = Router(prefix=looked_at("gateway"), tags=["audit"])


@published.get("", role=Role.ANYONE, public=True)
async def get_audit_heads(
    uow: Uow, day: Annotated[Day | None, Query(description="Day in Asia/Shanghai; today by default.")] = None
) -> Heads:
    """List the signed heads of the audits of all services. They contain no personal data, so anyone may store them.

    The chain of a day grows for some minutes after midnight. An earlier head stays valid for its first `size` entries.
    """
    return await use_cases.get_audit_heads(uow, day or day_of(uow.now))


@looking.get("", role=Role.RESIDENT, raises=[InvalidCursor])
async def who_looked_at_me(
    uow: Uow,
    spoken: Spoken = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the previous page.", max_length=800)] = None,
    limit: Limit = 50,
) -> WhoLooked:
    """List who viewed or used your data, or the data of people you act for, in all services.

    Each entry shows what was done, why, the role, the organisation and the time, in the language of the request. It
    never shows the name of the person. A check of your code is the entry of a doorkeeper: its organisation is the
    service point and its id is the visit. `/gateway/v1/visits` has the result. `missing` lists services that did not
    answer.
    """
    return await use_cases.who_looked_at_me(uow, cursor, limit, language_of(spoken))
