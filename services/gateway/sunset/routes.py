"""Routes of the sunset (G9)."""

from services.gateway.sunset import use_cases
from services.gateway.sunset.schemas import Declared, SunsetProposed
from services.gateway.sunset.use_cases import SUNSET, SunsetDeclared
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.governance.proposals.use_cases import Proposal
from shared.http.router import Router, Uow
from shared.problems import NotFound

router = Router(prefix="/gateway/v1/sunset", tags=["sunset"])


@router.get("", role=Role.ANYONE, raises=[NotFound])
async def get_sunset(uow: Uow) -> Declared:
    """Show when and by which decree the emergency ended. 404 while it has not ended."""
    return await use_cases.get_sunset(uow)


@router.post(
    "",
    role=Role.COMMAND,
    audit=Kind.APPROVAL,
    status=201,
    location="/gateway/v1/proposals/{id}",
    raises=[SunsetDeclared],
    response_model=SUNSET.proposal,
)
async def propose_sunset(proposed: SunsetProposed, uow: Uow) -> Proposal:
    """Propose to declare the end of the emergency. When a second person approves it, collecting data ends (410).

    Doors no longer check codes, and no visits are stored. This cannot be undone, because the operator then deletes the
    collected data and writes a report. Source: Personal Information Protection Law, article 47.
    """
    return await use_cases.propose_sunset(uow, proposed)
