"""Routes of messages (O4)."""

from typing import Annotated

from fastapi import Query

from services.observation.messages import use_cases
from services.observation.messages.schemas import KeptMessage
from services.observation.messages.tables import MessageState
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow

router = Router(prefix="/observation/v1/messages", tags=["messages"])


SENDERS = Role.DESK_120 | Role.HOSPITAL


@router.get("", role=Role.COMMAND | Role.COMMUNITY_OFFICER | Role.SUPERVISOR | Role.AUDITOR | SENDERS)
async def list_messages(
    uow: Uow,
    page: PageAsked,
    state: Annotated[
        MessageState | None, Query(description="Only those in this state. `rejected`: the message changed nothing.")
    ] = None,
) -> Listed[KeptMessage]:
    """List messages of the 120 desk and hospitals about referrals, with their outcome. Senders see only their own."""
    return await use_cases.list_messages(uow, state, page)
