"""Routes of residents, registrations and transfers (R2, articles 3 and 11)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response

from services.registry.regions.use_cases import RegionUnknown
from services.registry.residents import reveal, transfers, use_cases
from services.registry.residents.problems import (
    ResidentActive,
    ResidentClosed,
    ResidentExists,
    RevealLimit,
    TransferDecided,
    TransferOpen,
)
from services.registry.residents.schemas import (
    Close,
    Found,
    Move,
    Moved,
    NewResident,
    Recognise,
    Recognised,
    ReferralReveal,
    Registration,
    ResidentChange,
    ResidentShown,
    Reveal,
    Revealed,
    Search,
    Transfer,
)
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.preconditions import etag_of
from shared.http.router import IfMatch, IfMatchRequired, PageAsked, Router, Uow
from shared.problems import DataDestroyed, DataUnreadable, NotFound

KEEPERS = Role.COMMAND | Role.COMMUNITY_OFFICER | Role.GRID_WORKER
"""The roles that maintain the register, within their scope."""

LOOKERS = KEEPERS | Role.VILLAGE_DOCTOR | Role.SAMPLER
"""The roles that may look up a person."""

REVEALERS = KEEPERS | Role.VILLAGE_DOCTOR
"""The roles that may view unmasked data, within their scope and for a purpose."""

router = Router(prefix="/registry/v1/residents", tags=["residents"])
internal = Router(prefix="/internal/reveals", tags=["residents"])
registrations = Router(prefix="/registry/v1/registrations", tags=["residents"])
transfers_router = Router(prefix="/registry/v1/transfers", tags=["residents"])

ResidentId = Annotated[UUID, Path(description="Id of a resident.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])]
RegistrationId = Annotated[
    UUID, Path(description="Id of a registration request.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d33"])
]
TransferId = Annotated[UUID, Path(description="Id of a transfer.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d44"])]


@router.post(
    "",
    role=KEEPERS,
    raises=[ResidentExists, RegionUnknown],
    status=202,
    location="/registry/v1/registrations/{id}",
)
async def register_resident(new: NewResident, uow: Uow) -> Registration:
    """Register a person who lives in the caller's region.

    If the person is not registered elsewhere, the request is settled within seconds. Otherwise the other region must
    agree first. The response is the same in both cases. Source: article 11.
    """
    return await use_cases.register_resident(uow, new)


@router.post("/search", role=LOOKERS, audit=Kind.SEARCH)
async def find_residents(query: Search, uow: Uow) -> Found:
    """Find people in the caller's region by exact document number or phone. Every search is audited."""
    return await use_cases.find_residents(uow, query)


@router.post("/recognise", role=Role.SERVICE)
async def recognise_resident(query: Recognise, uow: Uow) -> Recognised:
    """Find the resident with this phone and this document on record.

    Only for the gateway, which has verified the phone and limits the attempts. External tokens are refused.
    """
    return await use_cases.recognise_resident(uow, query)


@internal.post(
    "",
    role=Role.SERVICE,
    audit=Kind.REVEAL,
    store_response=False,
    raises=[NotFound, DataDestroyed, DataUnreadable],
    include_in_schema=False,
)
async def reveal_for_referral(query: ReferralReveal, uow: Uow) -> Revealed:
    """Show the person of an open referral to the observation service, for the 120 desk or a hospital."""
    return await reveal.reveal_for_referral(uow, query)


@router.get("/{resident_id}", role=LOOKERS | Role.RESIDENT, raises=[NotFound], etag=True)
async def get_resident(resident_id: ResidentId, uow: Uow, response: Response) -> ResidentShown:
    """Show one person, masked. Residents see themselves and their dependants."""
    return _tagged(response, await use_cases.get_resident(uow, resident_id))


@router.get("", role=KEEPERS)
async def list_residents(
    uow: Uow,
    page: PageAsked,
    region: Annotated[str | None, Query(pattern=r"^[0-9]{2,16}$", description="Only people under this region.")] = None,
    household_id: Annotated[UUID | None, Query(description="Only people of this household.")] = None,
) -> Listed[ResidentShown]:
    """List the people in the caller's region, masked."""
    return await use_cases.list_residents(uow, region, household_id, page)


@router.patch("/{resident_id}", role=KEEPERS, raises=[NotFound, ResidentClosed], etag=True)
async def change_resident(
    resident_id: ResidentId, change: ResidentChange, uow: Uow, response: Response, if_match: IfMatchRequired
) -> ResidentShown:
    """Change a person's record. Requires `If-Match` with the current ETag."""
    return _tagged(response, await use_cases.change_resident(uow, resident_id, change, if_match))


@router.post(
    "/{resident_id}/move",
    role=KEEPERS,
    raises=[NotFound, ResidentClosed, RegionUnknown, TransferOpen],
)
async def move_resident(resident_id: ResidentId, move: Move, uow: Uow, if_match: IfMatch) -> Moved:
    """Move a person to another region.

    A move within the caller's region is done at once. Otherwise it becomes a transfer that the new region decides.
    """
    return await use_cases.move_resident(uow, resident_id, move, if_match)


@router.post(
    "/{resident_id}/reveal",
    role=REVEALERS,
    raises=[NotFound, RevealLimit, DataDestroyed, DataUnreadable],
    store_response=False,
)
async def reveal_resident(resident_id: ResidentId, query: Reveal, uow: Uow) -> Revealed:
    """Show some of a person's data unmasked, for a purpose and a reason.

    Purpose, reason and caller are audited, and the person can read the entry. Each member of staff has a limit per hour
    (FANGXIAN_REVEALS_PER_HOUR, 30 by default). The response is not stored, so an Idempotency-Key has no effect.
    """
    return await reveal.reveal_resident(uow, resident_id, query)


@router.post("/{resident_id}/close", role=KEEPERS, raises=[NotFound, ResidentClosed], etag=True)
async def close_resident(
    resident_id: ResidentId, close: Close, uow: Uow, response: Response, if_match: IfMatch
) -> ResidentShown:
    """Close a resident's record: the person died, moved to an unregistered place, or was entered by mistake."""
    return _tagged(response, await use_cases.close_resident(uow, resident_id, close, if_match))


@router.post("/{resident_id}/reopen", role=KEEPERS, raises=[NotFound, ResidentActive], etag=True)
async def reopen_resident(resident_id: ResidentId, uow: Uow, response: Response, if_match: IfMatch) -> ResidentShown:
    """Reopen a resident's closed record."""
    return _tagged(response, await use_cases.reopen_resident(uow, resident_id, if_match))


@registrations.get("/{registration_id}", role=KEEPERS, raises=[NotFound])
async def get_registration(registration_id: RegistrationId, uow: Uow) -> Registration:
    """Show a registration request and its outcome."""
    return await use_cases.get_registration(uow, registration_id)


@registrations.get("", role=KEEPERS)
async def list_registrations(uow: Uow, page: PageAsked) -> Listed[Registration]:
    """List registration requests in the caller's region."""
    return await use_cases.list_registrations(uow, page)


@transfers_router.get("", role=KEEPERS)
async def list_transfers(uow: Uow, page: PageAsked) -> Listed[Transfer]:
    """List transfers that the caller's region decides or has proposed."""
    return await transfers.list_transfers(uow, page)


@transfers_router.get("/{transfer_id}", role=KEEPERS, raises=[NotFound])
async def get_transfer(transfer_id: TransferId, uow: Uow) -> Transfer:
    """Show one transfer."""
    return await transfers.get_transfer(uow, transfer_id)


@transfers_router.post(
    "/{transfer_id}/accept", role=Role.COMMAND | Role.COMMUNITY_OFFICER, raises=[NotFound, TransferDecided]
)
async def accept_transfer(transfer_id: TransferId, uow: Uow) -> Transfer:
    """Accept a transfer, from either side. It is carried out within seconds."""
    return await transfers.decide_transfer(uow, transfer_id, "accept")


@transfers_router.post(
    "/{transfer_id}/refuse", role=Role.COMMAND | Role.COMMUNITY_OFFICER, raises=[NotFound, TransferDecided]
)
async def refuse_transfer(transfer_id: TransferId, uow: Uow) -> Transfer:
    """Refuse a transfer. The person stays in the old region."""
    return await transfers.decide_transfer(uow, transfer_id, "refuse")


def _tagged(response: Response, shown: ResidentShown) -> ResidentShown:
    response.headers["etag"] = etag_of(shown.version)
    return shown
