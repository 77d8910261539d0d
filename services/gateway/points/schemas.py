"""Service points: request and response bodies."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from services.gateway.codes.policy import ColourName
from shared.contracts.resource import Schema
from shared.problems import Invalid, LocalizedText

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
            LocalizedText(
                zh="应为 http 或 https 网址，不得含用户名、密码、查询参数或片段",
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


class Asked(Schema):
    """The requirements of a service point, and the service that it protects."""

    name: Name
    passes: Colours = Field(["green"], description="Colours that may enter.")
    registers: Colours = Field(
        [], description="Colours that may enter after registration. All other colours are turned back."
    )
    negative_within_hours: Hours | None = Field(
        None, description="Maximum age of the last negative test, from sampling. Null: no test is required."
    )
    without_negative: VerdictName = Field("turn_back", description="Verdict for a person without such a test.")
    fever_celsius: Fever = Field(37.3, description="Temperature from which it is a fever.")
    with_fever: VerdictName = "turn_back"
    unknown_person: VerdictName = Field("register", description="Verdict for a valid code of a person unknown here.")
    medical: bool = Field(False, description="A place of medical care: everyone passes, and no receipt is required.")
    receipt_seconds: Seconds = Field(600, description="How long a receipt gives access to the protected service.")
    slug: Slug | None = Field(
        None,
        description="The name in the path that a reverse proxy calls (`/gateway/v1/forward-auth/{slug}`).",
    )
    upstream_url: Upstream | None = Field(
        None,
        description="URL of the protected service (http or https), if the gateway forwards requests to it under "
        "`/services/{slug}/`. Requires a slug.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if set(self.passes) & set(self.registers):
            raise Invalid(
                "colour_twice",
                LocalizedText(zh="同一颜色不能既放行又登记", en="A colour cannot be in both passes and registers"),
            )
        if self.slug is None and self.upstream_url is not None:
            raise Invalid(
                "upstream_without_slug",
                LocalizedText(zh="填写 upstream_url 时须同时填写 slug", en="An upstream_url requires a slug"),
            )
        return self


class NewServicePoint(Asked):
    """A new service point."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    region: str = Field(pattern=r"^[0-9]{6,16}$", description="Region of the service point and of its visits.")


class ServicePoint(NewServicePoint):
    """A place that checks codes, with its requirements."""

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


class ServicePointChange(Schema):
    """Fields to change. Omitted fields keep their values. The region cannot change."""

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
