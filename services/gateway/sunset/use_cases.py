"""Use cases of the sunset."""

from uuid import UUID

from sqlalchemy import text

from services.gateway.sunset.schemas import Declaration, Declared, SunsetProposed
from shared.core.actors import Role
from shared.database.unit_of_work import UnitOfWork
from shared.governance.proposals.use_cases import Proposal, ProposalType, propose
from shared.problems import LocalizedText, NotFound, Problem


class SunsetDeclared(Problem):
    """The end of the emergency is already declared."""

    status = 409
    code = "sunset_declared"
    title = LocalizedText(zh="已宣布应急状态结束", en="The end of the emergency was already declared")
    fix = LocalizedText(zh="无需再次宣布", en="You do not need to declare it again")


SELECT_SUNSET = text("SELECT declared_on, decree, approved_at FROM sunset")
INSERT_SUNSET = text("""
    INSERT INTO sunset (declared_on, decree, proposal_id, approved_at) VALUES (:declared_on, :decree, :proposal, :now)
""")


async def get_sunset(uow: UnitOfWork) -> Declared:
    """Return the declaration. Raises NotFound while there is none."""
    rows = await uow.rows(SELECT_SUNSET)
    if not rows:
        raise NotFound()
    return Declared(**rows[0])


async def propose_sunset(uow: UnitOfWork, proposed: SunsetProposed) -> Proposal:
    """Propose the declaration. Raises SunsetDeclared."""
    await _expect_none(uow)
    return await propose(uow, SUNSET, proposed.declaration, proposed.reason)


async def declare(uow: UnitOfWork, declaration: Declaration, proposal_id: UUID) -> None:
    """Store an approved declaration. Every process applies it within two seconds."""
    await _expect_none(uow)
    await uow.run(INSERT_SUNSET, **declaration.model_dump(), proposal=proposal_id, now=uow.now)


async def _expect_none(uow: UnitOfWork) -> None:
    if await uow.rows(SELECT_SUNSET):
        raise SunsetDeclared()


SUNSET = ProposalType("sunset", Declaration, Role.COMMAND, declare, raises=(SunsetDeclared,))
