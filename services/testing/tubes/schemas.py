"""Tubes: what is asked and said."""

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
from shared.contracts.resource import Said
from shared.contracts.testing import PoolSize, SampleException, TubePeople
from shared.contracts.times import Instant
from shared.http.bodies import QuickBody
from shared.parties import PATTERNS
from shared.problems import Invalid, Text

MOST_LISTED = 60
"""Samples in one manifest: three times the largest pool. More are two tubes."""

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
MadeId = Annotated[UUID, Field(description="Made by the device, for ever.")]

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
        raise Invalid("listed_twice", Text(zh="同一样本列了两次", en="A sample is listed twice"))
    return ids


class NewRoll(Said):
    """How many tubes of which size a place needs for a round."""

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
    """Numbers of tubes issued to one place for one round. No number is ever issued again."""

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


class NewSample(Said):
    """One swab as a device records it."""

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLE]})

    id: MadeId
    campaign_id: UUID
    tube_number: TubeNumber
    resident_id: UUID | None = Field(default=None, description="Whose swab it is. Either this or `token`.")
    token: str | None = Field(
        default=None,
        max_length=MOST_OF_A_CODE,
        description="The text of the person's code, as it was scanned at the swab. Either this or `resident_id`.",
    )
    sampled_at: Instant = Field(description="By the device's clock; at most 5 minutes ahead of the server's.")
    offline: bool = Field(
        default=False,
        description="True: the swab has been taken already. False: the device asks before the swab.",
    )

    @model_validator(mode="after")
    def _names_one_person(self) -> Self:
        if (self.resident_id is None) == (self.token is None):
            raise Invalid(
                "one_of_two",
                Text(zh="resident_id 与 token 须填且只填一项", en="Send exactly one of resident_id and token"),
            )
        return self


class NewSamples(Said):
    """Swabs, in any order, as often as the device likes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [SAMPLE]}]})

    items: list[NewSample] = Field(min_length=1, max_length=MOST_ITEMS)


class Swabs(QuickBody, frozen=True):
    """A batch of swabs: to read a thousand models took as long as all that is decided of them.

    A time finer than a microsecond is rounded; the model would cut it.
    """

    says = NewSamples

    items: Annotated[list[SentSwab], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]

    def keys(self) -> int:
        """As of any quick body; one that names no person, or two, is never plainly right, and the model says why."""
        if any((item.resident_id is None) == (item.token is None) for item in self.items):
            return -1
        return 1 + len(self.items) * (len(SentSwab.__struct_fields__) - 1)


class SampleAnswer(BaseModel):
    """What became of one swab: kept, kept already, undone since, or refused and why."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    status: Literal["kept", "already", "undone", "refused"]
    exception: SampleException | None = None
    problem: Refusal | None = None
    resident_id: UUID | None = Field(
        default=None,
        description="Whom the scanned code named, if the record came with one: `GET /registry/v1/residents/{id}` shows "
        "the person masked, to compare.",
    )


class SampleAnswers(BaseModel):
    """An answer for each swab, in the order in which they were sent."""

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
    """A `SampleAnswer` as it is made."""

    id: UUID
    status: Literal["kept", "already", "undone", "refused"]
    exception: SampleException | None = None
    problem: dict[str, Any] | None = None
    resident_id: UUID | None = None


UndoReason = Literal["wrong_person", "wrong_tube", "aborted_swab", "scanned_twice"]
MoveReason = Literal["wrong_tube", "too_many", "household_together", "needs_own_tube"]
DiscardReason = Literal["lost", "leaked", "broken", "unlabelled", "too_old"]


class Undo(Said):
    """Why a swab does not count: it was a mistake, or it was never finished."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "aborted_swab"}]})

    reason: UndoReason


class MoveSample(Said):
    """Into which tube of the round a swab really went."""

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
    """A record of a swab that has happened and could not be kept, with the code of the problem."""

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
    resident_id: UUID | None = Field(description="Null if the code that was scanned names nobody for sure.")
    sampled_at: datetime
    reason: str
    refused_at: datetime
    resolved_at: datetime | None = Field(description="When the same record was kept after all.")


class Seal(Said):
    """The end of filling one tube: from here on its people are those of the manifest."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEAL]})

    tube_number: TubeNumber
    sealed_at: Instant = Field(description="By the device's clock; at most 5 minutes ahead of the server's.")
    manifest: Annotated[
        list[UUID],
        Field(
            min_length=1, max_length=MOST_LISTED, description="The ids of all its samples, also of those not sent yet."
        ),
        AfterValidator(_each_once),
    ]
    laboratory: PartyName | None = Field(
        default=None, description="Where it goes, if that is known; a box says so too."
    )


class Seals(Said):
    """Seals, in any order, as often as the device likes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [SEAL]}]})

    items: list[Seal] = Field(min_length=1, max_length=MOST_ITEMS)


class SealAnswer(BaseModel):
    """What became of one seal."""

    model_config = ConfigDict(frozen=True)

    tube_number: str
    status: Literal["sealed", "already", "refused"]
    missing: int = Field(default=0, description="Listed samples whose records have not come yet.")
    set_aside: list[UUID] = Field(
        default=[], description="Samples that were in the tube and not listed: now refused, their people missing again."
    )
    problem: Refusal | None = None


class SealAnswers(BaseModel):
    """An answer for each seal, in the order in which they were sent."""

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


class Discard(Said):
    """Why a tube cannot be tested. Its people are called again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "lost"}]})

    reason: DiscardReason


class OwnSample(BaseModel):
    """One's own swab, from the tube to the result.

    A suspicious pool does not say who of its people is infected. So its members read `retest` until their own single
    swab has a result. That result is shown with that swab; the pool's never becomes the person's.
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
    drill: bool = Field(description="Whether it was a drill. The result of a drill is not shown: it is nobody's.")
    sampled_at: datetime
    stage: OwnStage = Field(
        description="`under_retest`: the tube must be checked by a single swab of one's own. `retested`: that swab has "
        "its result, which is shown with it."
    )
    outcome: OwnOutcome | None = Field(
        default=None, description="`positive` only of a tube with nobody else in it. `retest`: a single swab is due."
    )
    reported_at: datetime | None = None
