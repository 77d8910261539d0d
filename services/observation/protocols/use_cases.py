"""Protocols: what happens."""

from uuid import UUID

from sqlalchemy import select

from services.observation.protocols import rules
from services.observation.protocols.rules import Protocol
from services.observation.protocols.tables import ProtocolRow
from shared import clock
from shared.actors import Role
from shared.problems import NotFound, Problem, Text
from shared.proposals.use_cases import Kind
from shared.work import Listed, Page, Work


class ProtocolTaken(Problem):
    """Another protocol has that number already."""

    status = 409
    code = "protocol_taken"
    title = Text(zh="该编号的方案已经存在", en="A protocol with this number already exists")
    fix = Text(zh="请以下一个编号另行提出", en="Propose it again with the next number")


async def all_protocols(work: Work) -> dict[int, Protocol]:
    """Every version, by its number."""
    rows = await work.session.scalars(select(ProtocolRow))
    return {row.number: row.read() for row in rows}


async def protocol_in_force(work: Work) -> Protocol:
    """The version that today's orders and referrals are opened under."""
    return rules.in_force((await all_protocols(work)).values(), clock.day_of(work.now))


async def get_protocol(work: Work, number: int) -> Protocol:
    row = (await work.session.scalars(select(ProtocolRow).where(ProtocolRow.number == number))).one_or_none()
    if row is None:
        raise NotFound()
    return row.read()


async def list_protocols(work: Work, page: Page) -> Listed[Protocol]:
    return await work.page(select(ProtocolRow), page, ProtocolRow.read)


async def publish_protocol(work: Work, protocol: Protocol, proposal_id: UUID) -> None:
    """Publish what two people agreed on. Orders opened before keep the version they were opened under."""
    document = protocol.model_dump(mode="json")
    row = ProtocolRow(region=work.actor.range[0], number=protocol.number, document=document, proposal_id=proposal_id)
    work.add(row)
    await work.session.flush()


PROTOCOL = Kind("protocol", Protocol, Role.COMMAND, publish_protocol, raises=[ProtocolTaken])
