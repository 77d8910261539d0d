"""Response bodies of the audits of all services."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.audit.heads import EXAMPLE, Head
from shared.audit.schemas import LOOKED_AT, LookedAt
from shared.contracts.resource import Schema

MISSING = "Services that did not answer in time. Ask again later for their entries."

EXAMPLE_KEY: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "kid": "testing", "x": "11qYAYKx…"}


class PublicKey(BaseModel):
    """A public key as a JWK (RFC 8037)."""

    model_config = ConfigDict(frozen=True, extra="allow", json_schema_extra={"examples": [dict(EXAMPLE_KEY)]})

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    kid: str
    x: str = Field(description="The key, base64url.")


class Heads(Schema):
    """The signed heads of the chains of one day. A copy stored elsewhere can verify any later export."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2021-01-21",
                    "heads": [dict(EXAMPLE)],
                    "keys": [EXAMPLE_KEY],
                    "missing": [],
                }
            ]
        }
    )

    day: date
    heads: list[Head]
    keys: list[PublicKey] = Field(description="The public keys of the services, as JWKs.")
    missing: list[str] = Field(description=MISSING)


class WhoLooked(Schema):
    """One page of accesses to your own data in all services, latest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [LOOKED_AT], "next_cursor": None, "missing": []}]}
    )

    items: list[LookedAt]
    next_cursor: str | None
    missing: list[str] = Field(description=MISSING)
