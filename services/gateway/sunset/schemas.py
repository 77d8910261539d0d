"""The sunset: what is said."""

from datetime import date, datetime

from pydantic import ConfigDict, Field, JsonValue

from shared.contracts.resource import Said

DECREE: dict[str, JsonValue] = {"declared_on": "2022-12-26", "decree": "国家卫生健康委公告2022年第7号"}


class Declaration(Said):
    """The emergency is over."""

    model_config = ConfigDict(json_schema_extra={"examples": [DECREE]})

    declared_on: date = Field(description="The day it ended.")
    decree: str = Field(min_length=1, max_length=200, description="The number of the decree that says so.")


class SunsetProposed(Said):
    """That the emergency is over, and why all that was collected is to be destroyed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"declaration": DECREE, "reason": "应急状态解除，按规定销毁个人信息"}]}
    )

    declaration: Declaration
    reason: str = Field(min_length=1, max_length=1_000)


class Declared(Declaration):
    """The end of the emergency, as two people declared it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**DECREE, "approved_at": "2022-12-26T10:00:00+08:00"}]})

    approved_at: datetime
