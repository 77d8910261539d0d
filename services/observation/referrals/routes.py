"""Routes of referrals (O4, article 2)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request

from services.observation.referrals import reveal, use_cases
from services.observation.referrals.reveal import NotDesignated, PersonNotOnRecord, ReferralRevealLimit
from services.observation.referrals.scans import with_scan
from services.observation.referrals.schemas import Cancellation, Fever, NewFever, ReferralPerson, Standing
from services.observation.referrals.use_cases import (
    NoFever,
    OutsideScope,
    ReferralEnded,
    ReferralFilter,
    ReferralGroundGone,
    ReferralNotCancelled,
    ReferralOpen,
    ReferralUnderWay,
    ScanTooOld,
    ScanUnknown,
)
from shared.audit.kinds import Kind
from shared.contracts.observation import Referral, ReferralReason, ReferralState
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import Caller, ContextDep, PageAsked, Router, Uow
from shared.problems import ClockAhead, Conflict, NotFound

router = Router(prefix="/observation/v1/referrals", tags=["referrals"])

ReferralId = Annotated[UUID, Path(description="Id of a referral.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21"])]

REPORTERS = (
    Role.GRID_WORKER
    | Role.COMMUNITY_OFFICER
    | Role.VILLAGE_DOCTOR
    | Role.SAMPLER
    | Role.COMMAND
    | Role.CHECKPOINT
    | Role.DOORKEEPER
    | Role.HOSPITAL
)
READERS = Role.CASEWORKERS | Role.RESIDENT | Role.DESK_120 | Role.HOSPITAL


@router.post(
    "",
    role=REPORTERS,
    raises=[NoFever, OutsideScope, ClockAhead, Conflict, ScanUnknown, ScanTooOld],
    status=201,
    location="/observation/v1/referrals/{id}",
    around=with_scan,
)
async def report_fever(new: NewFever, uow: Uow, request: Request) -> Referral:
    """Report a fever. The person waits where they are, and 120 comes.

    A person has at most one open referral. A second report adds its reading to the open one and returns it. A caller
    without access to that referral gets only its id and stage, with the fever and region just reported. A fever can be
    reported for any colour and any region, and for people who are not on record. The protocol sets the fever limit
    (37.3 °C by default). A door can send the scan instead of the person. Source: article 2.
    """
    return await use_cases.report_fever(uow, new, request.state.scan)


@router.get("/{referral_id}", role=READERS, raises=[NotFound])
async def get_referral(referral_id: ReferralId, uow: Uow) -> Referral:
    """Show one referral.

    The 120 desk sees those assigned to it, a hospital those it reported or is named in, residents their own.
    """
    return await use_cases.get_referral(uow, referral_id)


@router.get("/{referral_id}/standing", role=READERS, raises=[NotFound])
async def standing_of_referral(referral_id: ReferralId, uow: Uow) -> Standing:
    """Show the current stage of a referral: its start, its deadline, the hospital, and the reason of a cancellation."""
    return await use_cases.standing_of_referral(uow, referral_id)


@router.get("", role=READERS)
async def list_referrals(
    uow: Uow,
    page: PageAsked,
    region: Annotated[
        str | None, Query(pattern=r"^[0-9]{2,16}$", description="Only those reported in this region.")
    ] = None,
    state: Annotated[ReferralState | None, Query(description="Only those in this state.")] = None,
    reason: Annotated[ReferralReason | None, Query(description="Only those for this reason.")] = None,
    resident_id: Annotated[UUID | None, Query(description="Only those of this person.")] = None,
    overdue: Annotated[
        bool | None, Query(description="True: only those whose stage is overdue. False: only the others.")
    ] = None,
) -> Listed[Referral]:
    """List the referrals the caller may see."""
    where = ReferralFilter(region=region, state=state, reason=reason, resident_id=resident_id, overdue=overdue)
    return await use_cases.list_referrals(uow, where, page)


@router.get("/{referral_id}/fevers", role=READERS, raises=[NotFound])
async def list_fevers(referral_id: ReferralId, uow: Uow, page: PageAsked) -> Listed[Fever]:
    """List the temperature readings of a referral."""
    return await use_cases.list_fevers(uow, referral_id, page)


@router.post(
    "/{referral_id}/reveal",
    role=Role.DESK_120 | Role.HOSPITAL,
    audit=Kind.REVEAL,
    store_response=False,
    raises=[NotFound, ReferralEnded, NotDesignated, PersonNotOnRecord, ReferralRevealLimit],
)
async def reveal_referral(referral_id: ReferralId, caller: Caller, context: ContextDep) -> ReferralPerson:
    """Show the person of an open referral unmasked: name, phone and address.

    Only for the 120 desk of the referral, and the hospital that the desk has named. The purpose is fixed: transfer or
    treatment. Each request is audited, and the person sees the role and the purpose. The limit is 60 an hour for each
    referral. Source: article 2.
    """
    return await reveal.reveal_referral(context, caller, referral_id)


@router.post(
    "/{referral_id}/cancel",
    role=Role.COMMUNITY_OFFICER | Role.VILLAGE_DOCTOR | Role.COMMAND,
    raises=[NotFound, ReferralEnded, ReferralUnderWay],
)
async def cancel_referral(referral_id: ReferralId, why: Cancellation, uow: Uow) -> Referral:
    """Cancel a referral before the patient is on board, with a reason.

    A positive result stays in force: the household's orders stay, and the code still follows its facts.
    """
    return await use_cases.cancel_referral(uow, referral_id, why)


@router.post(
    "/{referral_id}/reopen",
    role=Role.COMMUNITY_OFFICER | Role.VILLAGE_DOCTOR | Role.COMMAND,
    raises=[NotFound, ReferralNotCancelled, ReferralGroundGone, ReferralOpen],
)
async def reopen_referral(referral_id: ReferralId, uow: Uow) -> Referral:
    """Reopen a referral cancelled by mistake. 120 is requested again, unless the transport has already begun."""
    return await use_cases.reopen_referral(uow, referral_id)
