"""Codes: response bodies."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.gateway import Colour, Reason


class ReasonShown(Reason):
    """A reason in the reader's language: why, how it ends, and what to do next."""

    why: str
    how_it_ends: str
    next_step: str
    source: str = Field(description="The article or protocol the rule follows, in the reader's language.")


class CodeShown(BaseModel):
    """The current code of a person, with its reasons as text."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "colour": "green",
                    "meaning": "绿码：可以通行。",
                    "until": None,
                    "colour_after": None,
                    "green_from": None,
                    "last_negative_at": "2021-01-21T09:30:00+08:00",
                    "policy": 1,
                    "reasons": [],
                    "token": None,
                }
            ]
        },
    )

    resident_id: UUID
    colour: Colour
    meaning: str
    until: datetime | None
    colour_after: Colour | None
    green_from: datetime | None = Field(description="When the code becomes green by time alone; null if it does not.")
    last_negative_at: datetime | None = Field(description="Sampling time of the last negative test.")
    policy: int
    reasons: list[ReasonShown]
    token: str | None = Field(
        default=None, description="Content of the QR code for this minute. Only in one's own code."
    )


class CodeCounts(BaseModel):
    """The number of people of each colour in a region now."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"green": 99_980, "yellow": 15, "red": 5}]})

    green: int
    yellow: int
    red: int
