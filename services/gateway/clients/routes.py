"""Routes of clients (G1)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

from services.gateway.clients import use_cases
from services.gateway.clients.schemas import Client, ClientMade, NewClient
from services.gateway.clients.use_cases import ClientRevoked, ClientTaken, PartyEverywhere, PublicKeyInvalid
from services.gateway.parties.use_cases import PartyNoPoint
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/gateway/v1/clients", tags=["sign-in"])

READERS = Role.COMMAND | Role.SUPERVISOR | Role.AUDITOR
RegisteredId = Annotated[
    UUID,
    Path(description="Id of the registration, not the client_id.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"]),
]


@router.post(
    "",
    audit=Kind.KEYS,
    role=Role.COMMAND,
    raises=[ClientTaken, PartyEverywhere, PartyNoPoint, RegionOutside, PublicKeyInvalid],
    status=201,
    location="/gateway/v1/clients/{id}",
)
async def add_client(new: NewClient, uow: Uow) -> ClientMade:
    """Register a client: an app in which people sign in, or a machine that signs in without people.

    The tokens of a machine have the role, party and region registered here. Its secret is shown only once.
    """
    return await use_cases.add_client(uow, new)


@router.get("", role=READERS)
async def list_clients(uow: Uow, page: PageAsked) -> Listed[Client]:
    """List the clients in the caller's region."""
    return await use_cases.list_clients(uow, page)


@router.get("/{registered_id}", role=READERS, raises=[NotFound])
async def get_client(registered_id: RegisteredId, uow: Uow) -> Client:
    """Show a client."""
    return await use_cases.get_client(uow, registered_id)


@router.post("/{registered_id}/rotate", role=Role.COMMAND, audit=Kind.KEYS, raises=[NotFound, ClientRevoked])
async def rotate_client(registered_id: RegisteredId, uow: Uow) -> ClientMade:
    """Create a new secret for a machine, shown only once. The old one stays valid for a day."""
    return await use_cases.rotate_client(uow, registered_id)


@router.post("/{registered_id}/revoke", role=Role.COMMAND, audit=Kind.KEYS, raises=[NotFound])
async def revoke_client(registered_id: RegisteredId, uow: Uow) -> Client:
    """Revoke a client. A machine's tokens stop working within a second."""
    return await use_cases.revoke_client(uow, registered_id)
