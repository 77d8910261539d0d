"""Service points: what is said."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from services.gateway.codes.policy import ColourName
from shared.contracts.resource import Said
from shared.problems import Invalid, Text

VerdictName = Literal["pass", "register", "turn_back"]
Colours = Annotated[list[ColourName], Field(max_length=3)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Hours = Annotated[int, Field(ge=1, le=720)]
Fever = Annotated[float, Field(ge=36, le=40, allow_inf_nan=False)]
Seconds = Annotated[int, Field(ge=1, le=43_200)]
SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
Slug = Annotated[str, Field(pattern=f"^{SLUG.pattern}$")]


def _plain(value: str) -> str:
    if not _is_plain_url(value):
        raise Invalid(
            "upstream_not_plain",
            Text(
                zh="只能是 http 或 https 网址，不含用户名、查询或片段",
                en="This must be an http or https URL without credentials, query or fragment",
            ),
        )
    return value


Upstream = Annotated[str, Field(max_length=2_000, pattern=r"^[\x21-\x7e]+$"), AfterValidator(_plain)]

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

    name: Name
    passes: Colours = Field(["green"], description="Colours that are let in.")
    registers: Colours = Field([], description="Colours that are let in after registration; the others turn back.")
    negative_within_hours: Hours | None = Field(
        None, description="How old the sample of the last negative test may be; null asks for no test."
    )
    without_negative: VerdictName = Field("turn_back", description="For who has no such test.")
    fever_celsius: Fever = Field(37.3, description="From here on it is a fever.")
    with_fever: VerdictName = "turn_back"
    unknown_person: VerdictName = Field("register", description="For whose code is genuine, and who is not known here.")
    medical: bool = Field(False, description="Care is sought here: everyone passes, and no receipt is asked for.")
    receipt_seconds: Seconds = Field(600, description="How long a receipt opens the protected service.")
    slug: Slug | None = Field(
        None,
        description="The name under which a reverse proxy asks (`/gateway/v1/forward-auth/{slug}`).",
    )
    upstream_url: Upstream | None = Field(
        None,
        description="Where the protected service is (http or https), if the gateway itself shall pass requests on to "
        "it under `/services/{slug}/`. Needs a slug.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if set(self.passes) & set(self.registers):
            raise Invalid(
                "colour_twice",
                Text(zh="同一颜色不能既放行又登记", en="A colour either passes or is registered"),
            )
        if self.slug is None and self.upstream_url is not None:
            raise Invalid(
                "upstream_without_slug",
                Text(zh="填写 upstream_url 时须同时填写 slug", en="An upstream_url needs a slug"),
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

    name: Name | None = None
    passes: Colours | None = None
    registers: Colours | None = None
    negative_within_hours: Hours | None = None
    without_negative: VerdictName | None = None
    fever_celsius: Fever | None = None
    with_fever: VerdictName | None = None
    unknown_person: VerdictName | None = None
    medical: bool | None = None
    receipt_seconds: Seconds | None = None
    slug: Slug | None = None
    upstream_url: Upstream | None = None


def _is_plain_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return whole and parts.username is None and parts.password is None and not parts.query and not parts.fragment
