"""Service points: what is said."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator

from services.gateway.codes.policy import ColourName
from shared.contracts.resource import Said
from shared.problems import Invalid, Text

VerdictName = Literal["pass", "register", "turn_back"]
Colours = Annotated[list[ColourName], Field(max_length=3)]

EXAMPLE: dict[str, Any] = {
    "name": "街道便民服务中心 1 号窗口",
    "region": "350582005001",
    "passes": ["green"],
    "negative_within_hours": 168,
    "receipt_seconds": 600,
    "slug": "service-hall",
    "upstream_url": "http://hall.example.cn/app/",
}


class Asked(Said):
    """What a point asks of those who come, and what it protects."""

    name: str = Field(min_length=1, max_length=100)
    passes: Colours = Field(["green"], description="Colours that are let in.")
    registers: Colours = Field([], description="Colours that are let in after registration; the others turn back.")
    negative_within_hours: int | None = Field(
        None, ge=1, le=720, description="How old the sample of the last negative test may be; null asks for no test."
    )
    without_negative: VerdictName = Field("turn_back", description="For who has no such test.")
    fever_celsius: float = Field(37.3, ge=36, le=40, allow_inf_nan=False, description="From here on it is a fever.")
    with_fever: VerdictName = "turn_back"
    unknown_person: VerdictName = Field("register", description="For whose code is genuine, and who is not known here.")
    medical: bool = Field(False, description="Care is sought here: everyone passes, and no receipt is asked for.")
    receipt_seconds: int = Field(600, ge=1, le=43_200, description="How long a receipt opens the protected service.")
    slug: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="The protected service is reached under `/services/{slug}/`.",
    )
    upstream_url: str | None = Field(
        None, max_length=2_000, pattern=r"^[\x21-\x7e]+$", description="Where the protected service is: http or https."
    )

    @field_validator("upstream_url")
    @classmethod
    def _leads_somewhere(cls, value: str | None) -> str | None:
        if value is not None and not _is_plain_url(value):
            raise Invalid(
                "upstream_not_plain",
                Text(
                    zh="只能是 http 或 https 网址，不含用户名、查询或片段",
                    en="This must be an http or https URL without credentials, query or fragment",
                ),
            )
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if set(self.passes) & set(self.registers):
            raise Invalid(
                "colour_twice",
                Text(zh="同一颜色不能既放行又登记", en="A colour either passes or is registered"),
            )
        if (self.slug is None) != (self.upstream_url is None):
            raise Invalid(
                "slug_without_upstream",
                Text(zh="slug 与 upstream_url 须同时给出", en="slug and upstream_url come together"),
            )
        return self


class NewServicePoint(Asked):
    """A place that shall ask for codes."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    region: str = Field(pattern=r"^[0-9]{6,16}$", description="Where it is: also the region of its visits.")


class ServicePoint(NewServicePoint):
    """A place that asks for codes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "version": 1,
                    "registers": [],
                    "without_negative": "turn_back",
                    "fever_celsius": 37.3,
                    "with_fever": "turn_back",
                    "unknown_person": "register",
                    "medical": False,
                    "closed_at": None,
                    **EXAMPLE,
                }
            ]
        }
    )

    id: UUID
    version: int
    closed_at: datetime | None = None


class ServicePointChange(Said):
    """What shall be otherwise: fields that are not given stay. Its region never changes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"negative_within_hours": 48, "registers": ["yellow"]}]},
    )

    name: str | None = None
    passes: Colours | None = None
    registers: Colours | None = None
    negative_within_hours: int | None = None
    without_negative: VerdictName | None = None
    fever_celsius: float | None = None
    with_fever: VerdictName | None = None
    unknown_person: VerdictName | None = None
    medical: bool | None = None
    receipt_seconds: int | None = None
    slug: str | None = None
    upstream_url: str | None = None


def _is_plain_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return whole and parts.username is None and parts.password is None and not parts.query and not parts.fragment
