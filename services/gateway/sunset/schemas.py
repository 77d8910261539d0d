"""The sunset: request and response bodies."""

from datetime import date, datetime

from pydantic import ConfigDict, Field, JsonValue

from shared.contracts.resource import Schema

DECREE: dict[str, JsonValue] = {"declared_on": "2022-12-26", "decree": "国家卫生健康委公告2022年第7号"}


class Declaration(Schema):
    """A declaration that the emergency is over."""

    model_config = ConfigDict(json_schema_extra={"examples": [DECREE]})

    declared_on: date = Field(description="The day on which the emergency ended.")
    decree: str = Field(min_length=1, max_length=200, description="Number of the decree that ends the emergency.")


class SunsetProposed(Schema):
    """A proposal to declare the end of the emergency, with the reason for destroying the collected data."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"declaration": DECREE, "reason": "应急状态解除，按规定销毁个人信息"}]}
    )

    declaration: Declaration
    reason: str = Field(min_length=1, max_length=1_000)


class Declared(Declaration):
    """The end of the emergency, declared by two people."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**DECREE, "approved_at": "2022-12-26T10:00:00+08:00"}]})

    approved_at: datetime
