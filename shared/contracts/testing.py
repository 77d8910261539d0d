"""Public resources of testing: campaigns, tubes and retests."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.resource import Resource

PoolSize = Literal[1, 5, 10, 20]
CampaignState = Literal["planned", "open", "closed", "cancelled"]
TubeState = Literal["open", "sealed", "in_transit", "received", "resulted", "discarded"]
Outcome = Literal["negative", "positive", "inconclusive", "invalid"]
TubePeople = Literal["single", "pool"]
SampleException = Literal["over_capacity", "twice_in_round", "single_only", "after_close", "stale_code"]


class Campaign(Resource, type="testing.campaign.v1"):
    """A round of mass testing in a region (article 11). A drill does not affect health codes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d01",
                    "version": 2,
                    "region": "350582005",
                    "name": "新塘街道第一轮全员核酸",
                    "round": 1,
                    "pool_size": 10,
                    "opens_at": "2021-01-20T08:00:00+08:00",
                    "closes_at": "2021-01-21T20:00:00+08:00",
                    "state": "open",
                    "drill": False,
                    "expected": 20000,
                }
            ]
        }
    )

    name: str
    round: int
    pool_size: PoolSize
    opens_at: datetime
    closes_at: datetime
    state: CampaignState
    drill: bool
    expected: int = Field(description="Number of people when the round was planned.")


class Sample(BaseModel):
    """One person's swab in a tube. One with an exception serves to trace a positive but is never counted twice."""

    model_config = ConfigDict(frozen=True)

    id: UUID = Field(description="Made by the device. It never changes.")
    resident_id: UUID
    sampled_at: datetime
    exception: SampleException | None = None


class Result(BaseModel):
    """The laboratory's finding. A correction has a higher revision and replaces it."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    revision: int
    tested_at: datetime
    reported_at: datetime


class Tube(Resource, type="testing.tube.v1"):
    """One tube of a round and the people in it. `region` is where it was filled.

    The result of a tube with an incomplete manifest is *held*. A positive takes effect immediately for the known
    people, a negative only when all samples are known.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5a2f9f0c-2f0e-5b66-a1f3-0b8f3f1e2d31",
                    "version": 4,
                    "region": "350582005001",
                    "campaign_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d01",
                    "number": "000000000130",
                    "capacity": 10,
                    "people": "pool",
                    "state": "resulted",
                    "drill": False,
                    "samples": [
                        {
                            "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d12",
                            "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                            "sampled_at": "2021-01-20T09:30:00+08:00",
                            "exception": None,
                        }
                    ],
                    "missing": 0,
                    "answers": [],
                    "sealed_at": "2021-01-20T09:40:00+08:00",
                    "received_at": "2021-01-20T11:00:00+08:00",
                    "laboratory": "lab-jinjiang",
                    "result": {
                        "outcome": "negative",
                        "revision": 1,
                        "tested_at": "2021-01-20T15:00:00+08:00",
                        "reported_at": "2021-01-20T15:00:02+08:00",
                    },
                    "held": False,
                }
            ]
        }
    )

    campaign_id: UUID
    number: str
    capacity: PoolSize
    people: TubePeople = Field(
        description="`pool` if the tube is for several people, or if it is for one person but contains several. After"
        " it is sealed, a tube for one person whose manifest lists several samples is a pool until all of them have"
        " arrived and belong to one person. A positive pool does not show which of its people is infected, and a"
        " negative pool does not resolve another pool. Only a `single` result is about one person."
    )
    state: TubeState
    drill: bool
    samples: tuple[Sample, ...]
    missing: int = Field(description="Number of samples that the manifest lists but no device has sent yet.")
    answers: tuple[UUID, ...] = Field(
        default=(),
        description="The tubes with a positive or inconclusive result that this later single tube resolves.",
    )
    sealed_at: datetime | None = None
    received_at: datetime | None = None
    laboratory: str | None = None
    result: Result | None = None
    held: bool = False


class Retest(Resource, type="testing.retest.v1"):
    """A single-tube retest that a member of a pool owes. `region` is where the person lives."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d71",
                    "version": 1,
                    "region": "3505820050010101",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "pool_id": "5a2f9f0c-2f0e-5b66-a1f3-0b8f3f1e2d31",
                    "state": "called",
                    "called_at": "2021-01-20T15:00:02+08:00",
                    "due_at": "2021-01-21T15:00:02+08:00",
                    "tube_id": None,
                    "outcome": None,
                }
            ]
        }
    )

    resident_id: UUID
    pool_id: UUID
    state: Literal["called", "sampled", "settled", "withdrawn"]
    called_at: datetime
    due_at: datetime = Field(description="When the person should have the result, including sampling and decision.")
    tube_id: UUID | None = None
    outcome: Outcome | None = None
