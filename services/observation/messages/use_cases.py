"""Use case of messages."""

from sqlalchemy import select

from services.observation.messages.schemas import KeptMessage
from services.observation.messages.tables import MessageRow, MessageState
from shared.core.actors import Role
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import Work


async def list_messages(work: Work, state: MessageState | None, page: Page) -> Listed[KeptMessage]:
    """Return one page of messages. A machine sees only those of its own role."""
    statement = select(MessageRow)
    if work.actor.role in Role.MACHINE:
        statement = statement.where(MessageRow.source == work.actor.role.label)
    if state is not None:
        statement = statement.where(MessageRow.state == state)
    return await work.page(statement, page, MessageRow.say)
