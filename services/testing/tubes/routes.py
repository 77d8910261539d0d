"""Routes of rolls, samples, seals and tubes (T4)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.testing.answers import Answers, LanguageAsked
from services.testing.codes import CodeKeysAtHand, codes_at_hand
from services.testing.problems import (
    CampaignUnknown,
    CapacityBeyondCampaign,
    RollOutsideCampaign,
    SingleOnly,
    TubeDiscarded,
    TubeFull,
    TubeMoveForbidden,
    TubeOfOtherRound,
    TubeSealed,
    TubeUnknown,
    TwiceInRound,
)
from services.testing.tubes import corrections, rolls, samples, seals, use_cases
from services.testing.tubes.schemas import (
    Discard,
    KeptSample,
    MoveSample,
    NewRoll,
    OwnSample,
    RefusedSample,
    Roll,
    SampleAnswers,
    SealAnswers,
    Seals,
    Swabs,
    Undo,
)
from shared.contracts.testing import Tube, TubeState
from shared.core.actors import Role
from shared.database.paging import MOST_PER_PAGE, InvalidCursor, Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.router import PageAsked, Router, Uow, cursor_query
from shared.problems import Conflict, NotFound

router = Router(prefix="/testing/v1", tags=["tubes"])

SEALS_BYTES = 4 << 20
"""Body limit in bytes of a full batch of seals: 1,000 manifests with 60 ids each."""

FIELD = Role.SAMPLER | Role.VILLAGE_DOCTOR | Role.COMMUNITY_OFFICER | Role.COMMAND

ISSUERS = Role.COMMAND | Role.COMMUNITY_OFFICER | Role.SAMPLER

RollId = Annotated[UUID, Path(description="Id of a roll.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d31"])]
TubeId = Annotated[UUID, Path(description="Id of a tube.", examples=["5a2f9f0c-2f0e-5b66-a1f3-0b8f3f1e2d11"])]
SampleId = Annotated[
    UUID, Path(description="Id of a sample, made by its device.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])
]


@router.post(
    "/rolls",
    role=ISSUERS,
    raises=[CampaignUnknown, RollOutsideCampaign, CapacityBeyondCampaign, RegionOutside],
    status=201,
    location="/testing/v1/rolls/{id}",
)
async def issue_roll(new: NewRoll, uow: Uow) -> Roll:
    """Issue a roll of tube numbers to a region for one round.

    No number is issued twice, so offline devices cannot conflict. A tube is created by its first swab or its seal.
    """
    return await rolls.issue_roll(uow, new)


@router.get("/rolls/{roll_id}", role=ISSUERS, raises=[NotFound])
async def get_roll(roll_id: RollId, uow: Uow) -> Roll:
    """Show one roll and its numbers, for example if the first response was lost."""
    return await rolls.get_roll(uow, roll_id)


@router.post("/samples", role=FIELD, client_ids=True, response_model=SampleAnswers, around=codes_at_hand)
async def add_samples(batch: Swabs, uow: Uow, codes: CodeKeysAtHand, language: LanguageAsked) -> Answers:
    """Record up to 1,000 swabs, in any order. Can be repeated.

    A swab names its person by `resident_id`, or by `token`, the text of the code scanned at the swab. The code must be
    valid at the time of the swab. A genuine code of another time is refused before the swab, and kept with the
    exception `stale_code` after it. A code that is not genuine identifies nobody. If the swab was already taken, its
    record is stored as refused. Send it again with `resident_id` to resolve it.

    Each swab has an id made by the device and is recorded exactly once. `offline: false` asks before the swab: a swab
    that is not allowed is refused. `offline: true` reports a swab already taken: it is kept, with an exception if it
    was not allowed. If it cannot be kept, it is stored as refused with the reason. Each swab has its own answer; the
    batch itself is 200.
    """
    return Answers(await samples.add_samples(uow, batch.items, codes, language))


@router.get("/samples/refused", role=Role.CASEWORKERS)
async def list_refused_samples(
    uow: Uow,
    page: PageAsked,
    resolved: Annotated[bool, Query(description="Include records that were kept later.")] = False,
) -> Listed[RefusedSample]:
    """List records of taken swabs that could not be stored, each with its reason."""
    return await use_cases.list_refused_samples(uow, resolved, page)


@router.post("/samples/{sample_id}/undo", role=FIELD, raises=[NotFound, Conflict, TubeSealed, TubeDiscarded])
async def undo_sample(sample_id: SampleId, undo: Undo, uow: Uow) -> KeptSample:
    """Undo a swab, or mark it as not finished, before the tube is sealed."""
    return await corrections.undo_sample(uow, sample_id, undo)


@router.post(
    "/samples/{sample_id}/move",
    role=FIELD,
    raises=[
        NotFound,
        Conflict,
        TubeUnknown,
        TubeOfOtherRound,
        TubeFull,
        TubeSealed,
        TubeDiscarded,
        SingleOnly,
        TwiceInRound,
    ],
)
async def move_sample(sample_id: SampleId, to: MoveSample, uow: Uow) -> KeptSample:
    """Move a swab to the tube it is really in, before either tube is sealed."""
    return await corrections.move_sample(uow, sample_id, to)


@router.get("/my-samples", role=Role.RESIDENT, raises=[InvalidCursor])
async def list_my_samples(
    uow: Uow,
    cursor: Annotated[str | None, cursor_query(use_cases.OWN_CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="Most items in one page.")] = 50,
) -> Listed[OwnSample]:
    """List the swabs of the caller and the caller's dependants, from the tube to the result, newest first.

    For a positive or inconclusive pool the outcome is `retest` until the person's own single swab has a result.
    """
    return await use_cases.list_my_samples(uow, cursor, limit)


@router.post("/seals", role=FIELD, client_ids=True)
async def seal_tubes(batch: Seals, uow: Uow, language: LanguageAsked) -> SealAnswers:
    """Seal up to 1,000 tubes permanently, each with the list of its samples.

    Listed records that arrive later complete the tube. Records in the tube that are not listed are set aside. Each seal
    has its own answer; the batch itself is 200. Source: article 11.
    """
    return SealAnswers(items=await seals.seal_tubes(uow, batch.items, language))


@router.get("/tubes", role=Role.CASEWORKERS | Role.LABORATORY)
async def list_tubes(
    uow: Uow,
    page: PageAsked,
    campaign_id: Annotated[UUID | None, Query(description="Only those of this round.")] = None,
    state: Annotated[TubeState | None, Query(description="Only those in this state.")] = None,
    number: Annotated[str | None, Query(max_length=40, description="Only the tube with this number.")] = None,
) -> Listed[Tube]:
    """List tubes in the caller's region; a laboratory sees its own."""
    return await use_cases.list_tubes(uow, campaign_id, state, number, page)


@router.get("/tubes/{tube_id}", role=Role.CASEWORKERS | Role.LABORATORY, raises=[NotFound])
async def get_tube(tube_id: TubeId, uow: Uow) -> Tube:
    """Show one tube and the people in it."""
    return await use_cases.get_tube(uow, tube_id)


@router.post("/tubes/{tube_id}/discard", role=FIELD | Role.LABORATORY, raises=[NotFound, TubeMoveForbidden])
async def discard_tube(tube_id: TubeId, discard: Discard, uow: Uow) -> Tube:
    """Discard a lost or damaged tube. Its people count as missing again, and retests it answered are open again.

    A tube with a result can be discarded only while a negative or invalid result is held for missing records.
    """
    return await use_cases.discard_tube(uow, tube_id, discard)
