"""Routes of protocols (O1)."""

from typing import Annotated

from fastapi import Path

from services.observation.protocols import use_cases
from services.observation.protocols.rules import Protocol
from services.observation.protocols.schemas import ProtocolProposed
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.governance.proposals.use_cases import Proposal, propose
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/observation/v1/protocols", tags=["protocols"])

Number = Annotated[int, Path(ge=1, le=1_000_000, description="The version of the protocol.", examples=[1])]


@router.get("/{number}", role=Role.PEOPLE | Role.MACHINE, raises=[NotFound])
async def get_protocol(number: Number, uow: Uow) -> Protocol:
    """Show one version of the observation protocol, each figure with its source."""
    return await use_cases.get_protocol(uow, number)


@router.get("", role=Role.PEOPLE | Role.MACHINE)
async def list_protocols(uow: Uow, page: PageAsked) -> Listed[Protocol]:
    """List all versions of the observation protocol. An order keeps the version under which it was opened."""
    return await use_cases.list_protocols(uow, page)


@router.post(
    "",
    role=Role.COMMAND,
    status=201,
    audit=Kind.APPROVAL,
    location="/observation/v1/proposals/{id}",
    response_model=use_cases.PROTOCOL.proposal,
)
async def propose_protocol(proposed: ProtocolProposed, uow: Uow) -> Proposal:
    """Propose a new version of the observation protocol. It is published when a second person approves.

    The national protocols changed four times in nineteen months, so the figures are data, each with its source.
    """
    return await propose(uow, use_cases.PROTOCOL, proposed.protocol, proposed.reason)
