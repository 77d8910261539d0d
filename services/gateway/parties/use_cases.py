"""Parties: whether one that is named exists."""

from sqlalchemy import select, text

from services.gateway.parties.tables import PartyRow
from services.gateway.points.tables import PointRow
from shared.actors import Role
from shared.parties import named_by, point_of
from shared.problems import Problem, Text
from shared.regions import lies_under
from shared.work import Work

MOST_NAMED = 10

KNOWN = text("SELECT party FROM parties WHERE role = :role AND state = 'active' ORDER BY party LIMIT :most")


class PartyUnknown(Problem):
    """A machine of this name is not registered."""

    status = 422
    code = "party_unknown"
    title = Text(zh="没有登记这个单位", en="No such party is registered")
    what = Text(
        zh="没有登记“{party}”；已登记的有：{known}",
        en="{party} is not registered. Registered are: {known}",
    )
    fix = Text(
        zh="请核对名称，或先登记其客户端（POST /gateway/v1/clients）或消息来源（POST /gateway/v1/hook-sources）",
        en="Check the name, or first register its client (POST /gateway/v1/clients) or its hook source "
        "(POST /gateway/v1/hook-sources)",
    )


class PartyNoPoint(Problem):
    """Somebody at a door acts for a service point, which must be open and within their region."""

    status = 422
    code = "party_no_point"
    title = Text(zh="辖区内没有这个验码点", en="No such service point in this region")
    fix = Text(
        zh="party 应为该辖区内开放的验码点编号，见 GET /gateway/v1/service-points；没有的请先建立",
        en="The party is the id of an open service point within the region: see GET /gateway/v1/service-points, or "
        "open one first",
    )


async def require_point(work: Work, party: str, region: str) -> None:
    """Raise PartyNoPoint unless a door's party is an open service point under the region it shall act in."""
    id_ = point_of(party)
    point = None if id_ is None else await work.session.get(PointRow, id_)
    if point is None or point.closed_at is not None or not lies_under(point.region, region):
        raise PartyNoPoint(at="/party")


async def require_party(work: Work, role: Role, party: str, region: str) -> None:
    """Raise PartyNoPoint or PartyUnknown where the party that somebody shall act for does not exist.

    The party of other staff is the name of their organisation. Written as a laboratory's, a hospital's or a desk's, it
    must be one that is registered.
    """
    if role in Role.DOOR:
        await require_point(work, party, region)
        return
    named = named_by(party)
    if named is None:
        return
    asked = select(PartyRow.id).where(PartyRow.role == named, PartyRow.party == party, PartyRow.state == "active")
    if (await work.session.scalars(asked)).first() is None:
        known = [row["party"] for row in await work.rows(KNOWN, role=named, most=MOST_NAMED)]
        raise PartyUnknown(party=party, known=", ".join(known) or "-", at="/party")
