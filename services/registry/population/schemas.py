"""Responses of population counts."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict


class Tally(BaseModel):
    """The number of people, and of those with each tag on the day. A person can have several tags."""

    model_config = ConfigDict(frozen=True)

    people: int
    child: int = Field(description="At most 14 years old.")
    elder: int = Field(description="At least 60 years old.")
    pregnant: int
    dependent: int


class ChildTally(Tally):
    """The counts of one region directly below."""

    region: str
    name: str | None = Field(description="Null if the region is no longer in the tree.")


EXAMPLE: JsonDict = {"people": 3, "child": 1, "elder": 1, "pregnant": 0, "dependent": 1}
NOBODY: JsonDict = {"people": 0, "child": 0, "elder": 0, "pregnant": 0, "dependent": 0}


class Population(BaseModel):
    """The people of a region and of its parts. The parts and `unassigned` always add up to `total`."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "region": "350582005",
                    "day": "2021-01-20",
                    "total": EXAMPLE,
                    "unassigned": NOBODY,
                    "children": [{"region": "350582005001", "name": "沙塘社区", **EXAMPLE}],
                }
            ]
        },
    )

    region: str
    day: date = Field(
        description="The day (Asia/Shanghai) at whose end people are counted. For today, people are counted now."
    )
    total: Tally
    unassigned: Tally = Field(description="People registered in the region itself, not in one of its parts.")
    children: list[ChildTally]
