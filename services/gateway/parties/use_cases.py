"""Use cases of parties: check that a named party exists."""

from sqlalchemy import select, text

from services.gateway.parties.tables import PartyRow
from services.gateway.points.tables import PointRow
from shared.contracts.parties import named_by, point_of
from shared.core.actors import Role
from shared.core.regions import lies_under
from shared.database.unit_of_work import UnitOfWork
from shared.problems import LocalizedText, Problem

MOST_NAMED = 10

SELECT_ACTIVE_PARTIES = text(
    "SELECT party FROM parties WHERE role = :role AND state = 'active' ORDER BY party LIMIT :most"
)


class PartyUnknown(Problem):
    """No party of this name and role is registered."""

    status = 422
    code = "party_unknown"
    title = LocalizedText(zh="该单位未登记", en="This party is not registered")
    what = LocalizedText(
        zh="“{party}”未登记；已登记的有：{known}",
        en="{party} is not registered. Registered parties: {known}",
    )
    fix = LocalizedText(
        zh="请核对名称，或先登记其客户端（POST /gateway/v1/clients）或消息来源（POST /gateway/v1/hook-sources）",
        en="Check the name, or first register a client (POST /gateway/v1/clients) or a hook source "
        "(POST /gateway/v1/hook-sources) of the party",
    )


class PartyNoPoint(Problem):
    """The party of a door role is not an open service point in the region."""

    status = 422
    code = "party_no_point"
    title = LocalizedText(zh="辖区内没有这个验码点", en="There is no open service point with this id in the region")
    fix = LocalizedText(
        zh="party 应为该辖区内启用中的验码点编号，见 GET /gateway/v1/service-points；没有的请先新建",
        en="Use the id of an open service point in the region as party (GET /gateway/v1/service-points), or create "
        "one first",
    )


async def require_point(uow: UnitOfWork, party: str, region: str) -> None:
    """Check that the party of a door role is an open service point in its region. Raises PartyNoPoint."""
    id_ = point_of(party)
    point = None if id_ is None else await uow.session.get(PointRow, id_)
    if point is None or point.closed_at is not None or not lies_under(point.region, region):
        raise PartyNoPoint(at="/party")


async def require_party(uow: UnitOfWork, role: Role, party: str, region: str) -> None:
    """Check that the party of a grant exists. Raises PartyNoPoint or PartyUnknown.

    The party of a door role is a service point. For other staff it is the name of their organisation; a name in the
    form of a laboratory, hospital or 120 desk must be registered.
    """
    if role in Role.DOOR:
        await require_point(uow, party, region)
        return
    named = named_by(party)
    if named is None:
        return
    query = select(PartyRow.id).where(PartyRow.role == named, PartyRow.party == party, PartyRow.state == "active")
    if (await uow.session.scalars(query)).first() is None:
        known = [row["party"] for row in await uow.rows(SELECT_ACTIVE_PARTIES, role=named, most=MOST_NAMED)]
        raise PartyUnknown(party=party, known=", ".join(known) or "-", at="/party")
