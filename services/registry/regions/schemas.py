"""Regions: what callers send."""

from pydantic import ConfigDict, Field

from shared.contracts.resource import Said


class NewRegion(Said):
    """A patch or a grid that a district adds under one of its communities."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "35058200500101", "name": "第一片"}]})

    code: str = Field(pattern=r"^[0-9]{14}([0-9]{2})?$", description="14 digits for a patch 片, 16 for a grid 网格.")
    name: str = Field(min_length=1, max_length=100)
