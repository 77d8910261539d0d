"""Use cases of protocols."""

from uuid import UUID

from sqlalchemy import select

from services.observation.protocols import rules
from services.observation.protocols.rules import Protocol
from services.observation.protocols.tables import ProtocolRow
from shared.core import clock
from shared.core.actors import Role
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.governance.proposals.use_cases import ProposalType
from shared.problems import LocalizedText, NotFound, Problem


class ProtocolTaken(Problem):
    """A protocol with this number exists."""

    status = 409
    code = "protocol_taken"
    title = LocalizedText(zh="该编号的方案已存在", en="A protocol with this number already exists")
    fix = LocalizedText(zh="请使用下一个编号重新提出", en="Propose it again with the next number")


async def all_protocols(uow: UnitOfWork) -> dict[int, Protocol]:
    """Return all versions by number."""
    rows = await uow.session.scalars(select(ProtocolRow))
    return {row.number: row.read() for row in rows}


async def protocol_in_force(uow: UnitOfWork) -> Protocol:
    """Return the version under which orders and referrals are opened today."""
    return rules.in_force((await all_protocols(uow)).values(), clock.day_of(uow.now))


async def get_protocol(uow: UnitOfWork, number: int) -> Protocol:
    """Return one version."""
    row = (await uow.session.scalars(select(ProtocolRow).where(ProtocolRow.number == number))).one_or_none()
    if row is None:
        raise NotFound()
    return row.read()


async def list_protocols(uow: UnitOfWork, page: Page) -> Listed[Protocol]:
    """Return one page of versions."""
    return await uow.page(select(ProtocolRow), page, ProtocolRow.read)


async def publish_protocol(uow: UnitOfWork, protocol: Protocol, proposal_id: UUID) -> None:
    """Publish an approved version. Earlier orders keep the version under which they were opened."""
    document = protocol.model_dump(mode="json")
    row = ProtocolRow(region=uow.actor.range[0], number=protocol.number, document=document, proposal_id=proposal_id)
    uow.add(row)
    await uow.session.flush()


PROTOCOL = ProposalType("protocol", Protocol, Role.COMMAND, publish_protocol, raises=[ProtocolTaken])
