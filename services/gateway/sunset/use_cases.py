"""The sunset: what happens."""

from uuid import UUID

from sqlalchemy import text

from services.gateway.sunset.schemas import Declaration, Declared, SunsetProposed
from shared.actors import Role
from shared.problems import NotFound, Problem, Text
from shared.proposals.use_cases import Kind, Proposal, propose
from shared.work import Work


class SunsetDeclared(Problem):
    """It is over already."""

    status = 409
    code = "sunset_declared"
    title = Text(zh="应急状态已宣布结束", en="The end of the emergency was already declared")
    fix = Text(zh="无需再次宣布", en="You do not need to declare it again")


LOOK = text("SELECT declared_on, decree, approved_at FROM sunset")
DECLARE = text("""
    INSERT INTO sunset (declared_on, decree, proposal_id, approved_at) VALUES (:declared_on, :decree, :proposal, :now)
""")


async def get_sunset(work: Work) -> Declared:
    found = await work.rows(LOOK)
    if not found:
        raise NotFound()
    return Declared(**found[0])


async def propose_sunset(work: Work, proposed: SunsetProposed) -> Proposal:
    await _expect_none(work)
    return await propose(work, SUNSET, proposed.declaration, proposed.reason)


async def declare(work: Work, declaration: Declaration, proposal_id: UUID) -> None:
    """Declare what two people agreed on. Every process knows within two seconds."""
    await _expect_none(work)
    await work.run(DECLARE, **declaration.model_dump(), proposal=proposal_id, now=work.now)


async def _expect_none(work: Work) -> None:
    if await work.rows(LOOK):
        raise SunsetDeclared()


SUNSET = Kind("sunset", Declaration, Role.COMMAND, declare, raises=(SunsetDeclared,))
