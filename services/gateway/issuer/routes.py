"""Routes of sessions, for their owners (G1)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

from services.gateway.accounts.tables import account_of
from services.gateway.issuer import use_cases
from services.gateway.issuer.schemas import Session
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import Caller, ContextDep, PageAsked, Router
from shared.problems import NotFound

router = Router(prefix="/gateway/v1/sessions", tags=["sign-in"])

SessionId = Annotated[UUID, Path(description="Id of a session.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"])]

# A session belongs to a person, not to a region. So these routes act as the service, but only on the caller's sessions.


@router.get("", role=Role.PEOPLE)
async def list_sessions(caller: Caller, page: PageAsked, context: ContextDep) -> Listed[Session]:
    """List your own sessions."""
    async with context.system_unit_of_work("GET /gateway/v1/sessions") as uow:
        return await use_cases.list_sessions(uow, account_of(caller.subject), page)


@router.delete("/{session_id}", role=Role.PEOPLE, raises=[NotFound], status=204)
async def end_session(session_id: SessionId, caller: Caller, context: ContextDep) -> None:
    """End one of your own sessions. Its tokens stop working within a second."""
    async with context.system_unit_of_work("DELETE /gateway/v1/sessions/{session_id}") as uow:
        await use_cases.end_own_session(uow, account_of(caller.subject), session_id)
