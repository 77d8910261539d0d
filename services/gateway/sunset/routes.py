"""The sunset: what callers may ask (G9)."""

from services.gateway.sunset import use_cases
from services.gateway.sunset.schemas import Declared, SunsetProposed
from services.gateway.sunset.use_cases import SUNSET, SunsetDeclared
from shared.actors import Role
from shared.audit.kinds import Kind
from shared.http.router import Router, Work
from shared.problems import NotFound
from shared.proposals.use_cases import Proposal

router = Router(prefix="/gateway/v1/sunset", tags=["sunset"])


@router.get("", role=Role.ANYONE, raises=[NotFound])
async def get_sunset(work: Work) -> Declared:
    """Show since when the emergency is over, and on whose word; 404 while it is not."""
    return await use_cases.get_sunset(work)


@router.post(
    "",
    role=Role.COMMAND,
    audit=Kind.APPROVAL,
    status=201,
    location="/gateway/v1/proposals/{id}",
    raises=[SunsetDeclared],
    response_model=SUNSET.proposal,
)
async def propose_sunset(proposed: SunsetProposed, work: Work) -> Proposal:
    """Propose to declare the emergency over. When a second person approves, everything that collects ends (410).

    Codes are shown no more at doors, and no visit is kept. What can be taken back is nothing: the operator then
    destroys what was collected, and reports it. Source: Personal Information Protection Law, article 47.
    """
    return await use_cases.propose_sunset(work, proposed)
