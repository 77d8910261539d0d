"""Requests and responses of rolls, samples, seals and tubes."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.testing.answers import Refusal
from services.testing.campaigns.schemas import RegionCode
from services.testing.limits import MOST_ITEMS
from services.testing.tubes.rules import MOST_OF_A_CODE, TUBE_NUMBER, OwnOutcome, OwnStage, SentSwab
from shared.contracts.parties import PATTERNS
from shared.contracts.resource import Schema
from shared.contracts.testing import PoolSize, SampleException, TubePeople
from shared.contracts.times import Instant
from shared.http.bodies import FastBody
from shared.problems import Invalid, LocalizedText

MOST_LISTED = 60
"""Most samples in one manifest: three times the largest pool. More samples belong to two tubes."""

TubeNumber = Annotated[
    str,
    Field(
        pattern=TUBE_NUMBER,
        description="The number on the tube: eleven digits and a check digit.",
        examples=["000000000130"],
    ),
]
PartyName = Annotated[
    str, Field(pattern=PATTERNS["laboratory"], description="A registered laboratory.", examples=["lab-jinjiang"])
]
MadeId = Annotated[UUID, Field(description="Made by the device, and never changes.")]

SAMPLE_ID = "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"
CAMPAIGN_ID = "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d01"
RESIDENT_ID = "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21"
TUBE_ID = "5a2f9f0c-2f0e-5b66-a1f3-0b8f3f1e2d31"

SAMPLE: JsonDict = {
    "id": SAMPLE_ID,
    "campaign_id": CAMPAIGN_ID,
    "tube_number": "000000000130",
    "resident_id": RESIDENT_ID,
    "sampled_at": "2021-01-20T09:30:00+08:00",
    "offline": False,
}
SEAL: JsonDict = {
    "tube_number": "000000000130",
    "sealed_at": "2021-01-20T09:40:00+08:00",
    "manifest": [SAMPLE_ID],
    "laboratory": "lab-jinjiang",
}
TUBE_FULL: JsonDict = {
    "type": "/problems/tube_full",
    "title": "采样管已满",
    "status": 409,
    "detail": "采样管已满（#/items/0/tube_number）。请封管并换新管。",
    "code": "tube_full",
    "errors": [{"pointer": "#/items/0/tube_number", "code": "tube_full", "detail": "采样管已满。"}],
}


def _each_once(ids: list[UUID]) -> list[UUID]:
    if len(set(ids)) != len(ids):
        raise Invalid("listed_twice", LocalizedText(zh="同一样本重复列出", en="A sample is listed twice"))
    return ids


class NewRoll(Schema):
    """The number and capacity of the tubes that a region needs for a round."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"campaign_id": CAMPAIGN_ID, "region": "350582005001", "capacity": 10, "count": 100}]
        }
    )

    campaign_id: UUID
    region: RegionCode
    capacity: PoolSize
    count: int = Field(ge=1, le=5_000)


class Roll(BaseModel):
    """Tube numbers issued to one region for one round. No number is issued twice."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": TUBE_ID,
                    "campaign_id": CAMPAIGN_ID,
                    "region": "350582005001",
                    "capacity": 10,
                    "numbers": ["000000000130"],
                }
            ]
        },
    )

    id: UUID
    campaign_id: UUID
    region: str
    capacity: PoolSize
    numbers: list[str]


class NewSample(Schema):
    """One swab as a device records it."""

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLE]})

    id: MadeId
    campaign_id: UUID
    tube_number: TubeNumber
    resident_id: UUID | None = Field(default=None, description="The person swabbed. Send either this or `token`.")
    token: str | None = Field(
        default=None,
        max_length=MOST_OF_A_CODE,
        description="The text of the person's code, scanned at the swab. Send either this or `resident_id`.",
    )
    sampled_at: Instant = Field(description="By the device's clock, at most 5 minutes ahead of the server's.")
    offline: bool = Field(
        default=False,
        description="True: the swab was already taken. False: the device asks before the swab.",
    )

    @model_validator(mode="after")
    def _names_one_person(self) -> Self:
        if (self.resident_id is None) == (self.token is None):
            raise Invalid(
                "one_of_two",
                LocalizedText(
                    zh="resident_id 和 token 须填写且只能填写一项", en="Send exactly one of resident_id and token"
                ),
            )
        return self


class NewSamples(Schema):
    """A batch of swabs, in any order. It can be repeated."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [SAMPLE]}]})

    items: list[NewSample] = Field(min_length=1, max_length=MOST_ITEMS)


class Swabs(FastBody, frozen=True):
    """A batch of swabs, decoded by msgspec because decoding 1,000 models took as long as deciding all of them.

    A time finer than a microsecond is rounded here; the model truncates it.
    """

    says = NewSamples

    items: Annotated[list[SentSwab], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]

    def keys(self) -> int:
        """Count the keys. Returns -1 if an item has no person or two, so that the model reads the body and says why."""
        if any((item.resident_id is None) == (item.token is None) for item in self.items):
            return -1
        return 1 + len(self.items) * (len(SentSwab.__struct_fields__) - 1)


class SampleAnswer(BaseModel):
    """The answer for one swab: kept, already kept before, undone meanwhile, or refused with a problem."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    status: Literal["kept", "already", "undone", "refused"]
    exception: SampleException | None = None
    problem: Refusal | None = None
    resident_id: UUID | None = Field(
        default=None,
        description="The person identified by the scanned code, if the record had one. To compare, "
        "`GET /registry/v1/residents/{id}` shows the person masked.",
    )


class SampleAnswers(BaseModel):
    """One answer for each swab, in the order of the request."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "id": SAMPLE_ID,
                            "status": "refused",
                            "exception": None,
                            "problem": TUBE_FULL,
                            "resident_id": None,
                        }
                    ]
                }
            ]
        },
    )

    items: list[SampleAnswer]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A `SampleAnswer` as a msgspec struct, which is faster to encode."""

    id: UUID
    status: Literal["kept", "already", "undone", "refused"]
    exception: SampleException | None = None
    problem: dict[str, Any] | None = None
    resident_id: UUID | None = None


UndoReason = Literal["wrong_person", "wrong_tube", "aborted_swab", "scanned_twice"]
MoveReason = Literal["wrong_tube", "too_many", "household_together", "needs_own_tube"]
DiscardReason = Literal["lost", "leaked", "broken", "unlabelled", "too_old"]


class Undo(Schema):
    """The reason to undo a swab: a mistake, or a swab that was not finished."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "aborted_swab"}]})

    reason: UndoReason


class MoveSample(Schema):
    """The tube of the round that the swab is really in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tube_number": "000000000147", "reason": "wrong_tube"}]})

    tube_number: TubeNumber
    reason: MoveReason


class KeptSample(BaseModel):
    """A swab as it is recorded now."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": SAMPLE_ID,
                    "campaign_id": CAMPAIGN_ID,
                    "tube_id": TUBE_ID,
                    "resident_id": RESIDENT_ID,
                    "sampled_at": "2021-01-20T09:30:00+08:00",
                    "exception": None,
                    "undone_at": "2021-01-20T09:31:00+08:00",
                }
            ]
        },
    )

    id: UUID
    campaign_id: UUID
    tube_id: UUID
    resident_id: UUID
    sampled_at: datetime
    exception: SampleException | None
    undone_at: datetime | None


class RefusedSample(BaseModel):
    """A record of a swab that was taken but could not be kept, with the code of the problem."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "sample_id": SAMPLE_ID,
                    "campaign_id": CAMPAIGN_ID,
                    "tube_number": "000000000130",
                    "resident_id": RESIDENT_ID,
                    "sampled_at": "2021-01-20T09:30:00+08:00",
                    "reason": "not_in_manifest",
                    "refused_at": "2021-01-20T12:00:00+08:00",
                    "resolved_at": None,
                }
            ]
        },
    )

    sample_id: UUID
    campaign_id: UUID
    tube_number: str
    resident_id: UUID | None = Field(description="Null if the scanned code does not identify anybody.")
    sampled_at: datetime
    reason: str
    refused_at: datetime
    resolved_at: datetime | None = Field(description="When the same record was kept later.")


class Seal(Schema):
    """The seal of one tube. The manifest fixes the people in it."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEAL]})

    tube_number: TubeNumber
    sealed_at: Instant = Field(description="By the device's clock, at most 5 minutes ahead of the server's.")
    manifest: Annotated[
        list[UUID],
        Field(
            min_length=1,
            max_length=MOST_LISTED,
            description="The ids of all samples in the tube, including those not sent yet.",
        ),
        AfterValidator(_each_once),
    ]
    laboratory: PartyName | None = Field(
        default=None, description="The laboratory it goes to, if known. The box can set it later."
    )


class Seals(Schema):
    """A batch of seals, in any order. It can be repeated."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [SEAL]}]})

    items: list[Seal] = Field(min_length=1, max_length=MOST_ITEMS)


class SealAnswer(BaseModel):
    """The answer for one seal."""

    model_config = ConfigDict(frozen=True)

    tube_number: str
    status: Literal["sealed", "already", "refused"]
    missing: int = Field(default=0, description="Number of listed samples whose records have not arrived yet.")
    set_aside: list[UUID] = Field(
        default=[],
        description="Samples in the tube that were not listed. They are now refused, and their people count as missing "
        "again.",
    )
    problem: Refusal | None = None


class SealAnswers(BaseModel):
    """One answer for each seal, in the order of the request."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "tube_number": "000000000130",
                            "status": "sealed",
                            "missing": 0,
                            "set_aside": [],
                            "problem": None,
                        }
                    ]
                }
            ]
        },
    )

    items: list[SealAnswer]


class Discard(Schema):
    """The reason why a tube cannot be tested. Its people must be swabbed again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "lost"}]})

    reason: DiscardReason


class OwnSample(BaseModel):
    """One's own swab, from the tube to the result.

    A positive or inconclusive pool does not say who is infected. So its members read `retest` until their own single
    swab has a result. That result is shown with that swab. The pool's result is never shown as the person's.
    """

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": SAMPLE_ID,
                    "resident_id": RESIDENT_ID,
                    "campaign": "第一轮",
                    "tube_number": "000000000130",
                    "people": "pool",
                    "drill": False,
                    "sampled_at": "2021-01-20T09:30:00+08:00",
                    "stage": "resulted",
                    "outcome": "negative",
                    "reported_at": "2021-01-20T15:00:00+08:00",
                }
            ]
        },
    )

    id: UUID
    resident_id: UUID
    campaign: str
    tube_number: str
    people: TubePeople
    drill: bool = Field(
        description="Whether it was a drill. The result of a drill is not shown, because it belongs to nobody."
    )
    sampled_at: datetime
    stage: OwnStage = Field(
        description="`under_retest`: the person needs an own single swab. `retested`: that swab has its result, which "
        "is shown with it."
    )
    outcome: OwnOutcome | None = Field(
        default=None, description="`positive` only for a tube with nobody else in it. `retest`: a single swab is due."
    )
    reported_at: datetime | None = None
