"""Requests of regions."""

from pydantic import ConfigDict, Field

from shared.contracts.resource import Schema


class NewRegion(Schema):
    """A region that a district adds: a township, a community, a patch or a grid."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "35058200500101", "name": "第一片"}]})

    code: str = Field(
        pattern=r"^[0-9]{9}([0-9]{3}([0-9]{2}([0-9]{2})?)?)?$",
        description="9 digits for a township, 12 for a community, 14 for a patch 片, 16 for a grid 网格.",
    )
    name: str = Field(min_length=1, max_length=100)
