"""Protocols: what happens."""

from sqlalchemy import select

from services.observation.protocols import rules
from services.observation.protocols.rules import Protocol
from services.observation.protocols.tables import ProtocolRow
from shared import clock
from shared.problems import NotFound
from shared.work import Listed, Page, Work


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
