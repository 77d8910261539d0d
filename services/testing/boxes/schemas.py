"""Requests and responses of boxes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.testing.boxes.rules import BoxState
from services.testing.limits import MOST_ITEMS
from services.testing.tubes.schemas import PartyName, TubeNumber
from shared.contracts.resource import Schema
from shared.problems import Invalid, LocalizedText


def _each_once(numbers: list[str]) -> list[str]:
    if len(set(numbers)) != len(numbers):
        raise Invalid("listed_twice", LocalizedText(zh="同一采样管重复列出", en="A tube is listed twice"))
    return numbers


Numbers = Annotated[list[TubeNumber], AfterValidator(_each_once)]


class NewBox(Schema):
    """Sealed tubes that go together to one laboratory."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tube_numbers": ["000000000130"], "laboratory": "lab-jinjiang"}]}
    )

    tube_numbers: Annotated[Numbers, Field(min_length=1, max_length=MOST_ITEMS)]
    laboratory: PartyName


class Reception(Schema):
    """The numbers of the tubes that a laboratory found in a box."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tube_numbers": ["000000000130"]}]})

    tube_numbers: Annotated[Numbers, Field(max_length=MOST_ITEMS)]


class Box(BaseModel):
    """A box of tubes on its way to the laboratory, with the tubes packed, missing and unexpected."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d41",
                    "version": 4,
                    "region": "350582005001",
                    "laboratory": "lab-jinjiang",
                    "state": "received",
                    "tube_numbers": ["000000000130", "000000000147"],
                    "packed_at": "2021-01-20T10:00:00+08:00",
                    "picked_up_at": "2021-01-20T10:10:00+08:00",
                    "departed_at": "2021-01-20T10:20:00+08:00",
                    "received_at": "2021-01-20T11:00:00+08:00",
                    "missing": ["000000000147"],
                    "unexpected": [],
                    "late": [],
                }
            ]
        },
    )

    id: UUID
    version: int
    region: str
    laboratory: str
    state: BoxState
    tube_numbers: list[str] = Field(description="The tubes packed.")
    packed_at: datetime
    picked_up_at: datetime | None
    departed_at: datetime | None
    received_at: datetime | None
    missing: list[str] = Field(description="Packed, but not received with the box.")
    unexpected: list[str] = Field(description="Found, but not packed.")
    late: list[str] = Field(description="Tubes that exceeded the time limit from the first swab to receipt.")
