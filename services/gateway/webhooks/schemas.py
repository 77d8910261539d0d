"""Webhooks: requests and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from shared.contracts import gateway, observation, registry, testing  # noqa: F401 - declares the types there are
from shared.contracts.resource import RESOURCES, Schema
from shared.contracts.times import Instant
from shared.problems import Invalid, LocalizedText

State = Literal["enabled", "disabled"]
DisabledReason = Literal["by_hand", "gone", "unreachable", "owner_gone"]
DeliveryState = Literal["delivered", "parked", "dead"]

EXAMPLE: dict[str, Any] = {
    "url": "https://city.example.cn/fangxian",
    "types": ["gateway.code.v1", "observation.order.v1"],
    "region": "350582005",
}

EXAMPLE_HELD: dict[str, Any] = {
    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    "version": 1,
    **EXAMPLE,
    "state": "enabled",
    "disabled_reason": None,
    "failures": 0,
    "failing_since": None,
    "next_attempt_at": None,
    "last_success_at": "2021-01-20T08:00:00+08:00",
    "last_error": None,
    "gap_at": None,
    "created_at": "2021-01-19T08:00:00+08:00",
}
EXAMPLE_DELIVERY: dict[str, Any] = {
    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e11",
    "event_id": "gateway.code.v1/018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11/2",
    "type": "gateway.code.v1",
    "subject": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
    "event_version": 2,
    "region": "3505820050010101",
    "state": "delivered",
    "attempts": 1,
    "last_status": 204,
    "last_error": None,
    "next_attempt_at": None,
    "delivered_at": "2021-01-20T08:00:00+08:00",
    "created_at": "2021-01-20T08:00:00+08:00",
}
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - nobody's


def _exist(value: list[str]) -> list[str]:
    if not set(value) <= RESOURCES.keys():
        known = ", ".join(sorted(RESOURCES))
        raise Invalid("type_unknown", LocalizedText(zh="只能是 {known}", en="Types are {known}"), known=known)
    return sorted(set(value))


Types = Annotated[list[str], Field(min_length=1, max_length=50), AfterValidator(_exist)]


class NewEndpoint(Schema):
    """An endpoint to create: where events are sent, and which."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    url: str = Field(max_length=2_000, pattern=r"^[\x21-\x7e]+$", description="http or https, without credentials.")
    types: Types = Field(description="Resource types, each once.")
    region: str = Field(pattern=r"^([0-9]{2,16})?$", description="Only what lies under it; an empty text is the whole.")

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            whole = False
        if not whole:
            raise Invalid(
                "url_not_http", LocalizedText(zh="只能是 http 或 https 网址", en="This must be an http or https URL")
            )
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise Invalid(
                "url_with_credentials",
                LocalizedText(
                    zh="网址中不能有用户名、密码或片段", en="The URL must hold no credentials and no fragment"
                ),
            )
        return value


class Endpoint(Schema):
    """Where events are sent, and how well that works."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_HELD]})

    id: UUID
    version: int
    region: str
    url: str
    types: list[str]
    state: State
    disabled_reason: DisabledReason | None
    failures: int = Field(description="Failures in a row of the endpoint as a whole.")
    failing_since: datetime | None
    next_attempt_at: datetime | None = Field(description="Until when it is left alone; null while all is well.")
    last_success_at: datetime | None
    last_error: str | None
    gap_at: datetime | None = Field(description="When events were found to be past retention: read the lists again.")
    created_at: datetime


class EndpointMade(Endpoint):
    """An endpoint with the secret its events are signed with: shown this once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**EXAMPLE_HELD, "secret": EXAMPLE_SECRET}]})

    secret: str = Field(description="Standard Webhooks secret, base64 after `whsec_`.")


class Delivery(Schema):
    """One event for one endpoint: its attempts and their outcome."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_DELIVERY]})

    id: UUID
    event_id: str = Field(description="As `webhook-id`; the same however often it is sent.")
    type: str
    subject: UUID
    event_version: int
    region: str
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    next_attempt_at: datetime | None = Field(
        description="Of what is parked; null if it waits behind an earlier event of its subject."
    )
    delivered_at: datetime | None
    created_at: datetime


class Replay(Schema):
    """Which events are sent again now. What was delivered is kept for seven days, what was given up for thirty."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"since": "2021-01-20T08:00:00+08:00"},
                {"since": "2021-01-20T08:00:00+08:00", "types": ["gateway.code.v1"], "region": "350582005001"},
            ]
        }
    )

    since: Instant | None = Field(None, description="Those first tried at or after this time.")
    after: str | None = Field(
        None, max_length=200, description="Those after a `next_cursor` of the deliveries, or of the replay before."
    )
    states: Annotated[list[DeliveryState], Field(min_length=1, max_length=3)] = Field(
        ["delivered", "parked", "dead"], description="Only those in these states."
    )
    types: Types | None = Field(None, description="Only these types.")
    region: str = Field("", pattern=r"^([0-9]{2,16})?$", description="Only those under this region.")

    @model_validator(mode="after")
    def _begins_somewhere(self) -> Self:
        if (self.since is None) == (self.after is None):
            raise Invalid(
                "replay_start", LocalizedText(zh="请给出 since 或 after 之一", en="Give either since or after")
            )
        return self


class Replayed(Schema):
    """How many events are sent again: the oldest first, 5,000 at most."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"count": 3, "next_cursor": None}]})

    count: int
    next_cursor: str | None = Field(
        description="There may be more: ask again with it as `after`. Null if there is none."
    )
