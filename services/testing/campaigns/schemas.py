"""Requests and responses of campaigns."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict

from shared.contracts.resource import Schema
from shared.contracts.testing import PoolSize
from shared.contracts.times import Instant
from shared.problems import Invalid, LocalizedText

RegionCode = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{14}|[0-9]{16})$",
        description="Region code. Every code that starts with it belongs to the region.",
        examples=["350582005"],
    ),
]

CAMPAIGN: JsonDict = {
    "name": "新塘街道第一轮全员核酸",
    "round": 1,
    "region": "350582005",
    "pool_size": 10,
    "opens_at": "2021-01-20T08:00:00+08:00",
    "closes_at": "2021-01-21T20:00:00+08:00",
    "drill": False,
}

FIGURES: JsonDict = {
    "expected": 320,
    "sampled": 310,
    "missing": 10,
    "others": 2,
    "open": 0,
    "sealed": 1,
    "in_transit": 10,
    "received": 12,
    "resulted": 9,
    "discarded": 0,
    "incomplete": 1,
    "positive": 1,
    "inconclusive": 0,
    "late": 0,
}


class NewCampaign(Schema):
    """A round of sampling over a region."""

    model_config = ConfigDict(json_schema_extra={"examples": [CAMPAIGN]})

    name: str = Field(min_length=1, max_length=100)
    round: int = Field(ge=1, le=1000)
    region: RegionCode
    pool_size: PoolSize
    opens_at: Instant
    closes_at: Instant
    drill: bool = Field(default=False, description="A drill runs like a real round but changes no health code.")

    @field_validator("closes_at")
    @classmethod
    def _closes_after_it_opens(cls, closes_at: datetime, others: ValidationInfo) -> datetime:
        opens_at = others.data.get("opens_at")
        if opens_at is not None and opens_at >= closes_at:
            raise Invalid(
                "window_empty",
                LocalizedText(zh="结束时间须晚于开始时间", en="The closing time must be after the opening time"),
            )
        return closes_at


class Figures(BaseModel):
    """People and tubes of a round. People count in their grid of the planning day, tubes where they were filled."""

    model_config = ConfigDict(frozen=True)

    expected: int = Field(description="People counted when the round was planned.")
    sampled: int = Field(description="People among them who were swabbed, each counted once.")
    missing: int = Field(description="People among them not swabbed: expected minus sampled.")
    others: int = Field(description="People swabbed here who were not expected. They are not included above.")
    open: int = Field(description="Tubes being filled.")
    sealed: int = Field(description="Tubes sealed but not in transit yet.")
    in_transit: int = Field(description="Tubes in transit.")
    received: int = Field(description="Tubes at the laboratory without a result.")
    resulted: int = Field(description="Tubes with a result.")
    discarded: int = Field(description="Tubes lost or damaged.")
    incomplete: int = Field(description="Sealed tubes with missing sample records.")
    positive: int = Field(description="Tubes with a positive result.")
    inconclusive: int = Field(description="Tubes with a result in the grey zone.")
    late: int = Field(description="Tubes that exceed the time limit from the first swab to receipt.")


class RegionFigures(Figures):
    """The figures of one region, usually a grid."""

    region: str


class Progress(BaseModel):
    """The current progress of a round."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "campaign_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d01",
                    "at": "2021-01-20T12:00:00+08:00",
                    "total": FIGURES,
                    "regions": [{**FIGURES, "region": "3505820050010101"}],
                }
            ]
        },
    )

    campaign_id: UUID
    at: datetime
    total: Figures
    regions: list[RegionFigures]


class Missing(BaseModel):
    """A person expected in a round and not swabbed yet. The registry has the address for the visit."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [{"resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21", "region": "3505820050010101"}]
        },
    )

    resident_id: UUID
    region: str = Field(description="The grid in which the person was counted.")
