"""Use case of messages."""

from sqlalchemy import select

from services.observation.messages.schemas import KeptMessage
from services.observation.messages.tables import MessageRow, MessageState
from shared.core.actors import Role
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork


async def list_messages(uow: UnitOfWork, state: MessageState | None, page: Page) -> Listed[KeptMessage]:
    """Return one page of messages. A machine sees only those of its own role."""
    statement = select(MessageRow)
    if uow.actor.role in Role.MACHINE:
        statement = statement.where(MessageRow.source == uow.actor.role.label)
    if state is not None:
        statement = statement.where(MessageRow.state == state)
    return await uow.page(statement, page, MessageRow.to_public)
