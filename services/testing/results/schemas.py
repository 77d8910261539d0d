"""Requests and responses of results."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.testing.answers import Refusal
from services.testing.limits import MOST_ITEMS
from services.testing.tubes.schemas import TubeNumber
from shared.contracts.resource import Schema
from shared.contracts.testing import Outcome
from shared.contracts.times import Instant

RESULT: JsonDict = {
    "tube_number": "000000000130",
    "outcome": "negative",
    "tested_at": "2021-01-20T15:00:00+08:00",
    "revision": 1,
}


class NewResult(Schema):
    """A laboratory's result of one tube."""

    model_config = ConfigDict(json_schema_extra={"examples": [RESULT]})

    tube_number: TubeNumber
    outcome: Outcome = Field(description="`inconclusive`: the grey zone. `invalid`: the test failed.")
    tested_at: Instant
    revision: int = Field(default=1, ge=1, le=1000, description="A correction needs a higher revision.")


class NewResults(Schema):
    """A batch of results. It can be repeated."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [RESULT]}]})

    items: list[NewResult] = Field(min_length=1, max_length=MOST_ITEMS)


class ResultAnswer(BaseModel):
    """The answer for one result. `held`: sample records are missing, so only a positive takes effect now."""

    model_config = ConfigDict(frozen=True)

    tube_number: str
    status: Literal["reported", "corrected", "already", "refused"]
    held: bool = False
    problem: Refusal | None = None


class ResultAnswers(BaseModel):
    """One answer for each result, in the order of the request."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {"items": [{"tube_number": "000000000130", "status": "reported", "held": False, "problem": None}]}
            ]
        },
    )

    items: list[ResultAnswer]


class Revision(BaseModel):
    """One revision of a tube's result. The highest revision is in force."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "revision": 1,
                    "laboratory": "lab-jinjiang",
                    "outcome": "negative",
                    "tested_at": "2021-01-20T15:00:00+08:00",
                    "reported_at": "2021-01-20T15:00:02+08:00",
                }
            ]
        },
    )

    revision: int
    laboratory: str
    outcome: Outcome
    tested_at: datetime
    reported_at: datetime
