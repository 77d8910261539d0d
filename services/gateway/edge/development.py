"""The development issuer: a token for whoever asks, so that demonstration and tests need no other identity provider.

Exists only where the settings say so; production settings refuse to.
"""

from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator

from services.gateway.edge.own_tokens import MOST_SECONDS, Issuer
from shared.actors import Actor, Role
from shared.audit.kinds import Kind
from shared.contracts.resource import Said
from shared.http.router import Router, Work
from shared.problems import Invalid, Text
from shared.regions import NOTHING, range_of

router = Router(prefix="/gateway/v1/development", tags=["development"])

ROLES = tuple(role.label for role in Role.ANYONE)


class TokenAsked(Said):
    """Who the bearer shall be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"role": "sampler", "region": "350582005"},
                {"role": "resident", "resident_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"},
            ]
        }
    )

    role: str = Field(description="One role.", json_schema_extra={"enum": list(ROLES)})
    region: Annotated[str, Field(pattern=r"^([0-9]{2,16})?$")] | None = Field(
        None, description="The scope of staff and doors: they reach what lies under it; an empty text is the whole."
    )
    resident_id: UUID | None = Field(None, description="The resident, for the role resident.")
    party: str = Field(
        "", max_length=100, description="A machine's party, the service point of a door, or the organisation of staff."
    )
    subject: str = Field("", max_length=100, description="Who it is in the audit; made from the role if empty.")
    lifetime_seconds: int = Field(MOST_SECONDS, ge=1, le=MOST_SECONDS)

    @field_validator("role")
    @classmethod
    def _is_a_role(cls, value: str) -> str:
        if value not in ROLES:
            raise Invalid("role_unknown", Text(zh="没有这个角色", en="There is no such role"))
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        role = Role.named(self.role)
        if role is Role.RESIDENT and self.resident_id is None:
            raise Invalid("resident_needed", Text(zh="居民令牌需要 resident_id", en="A resident needs a resident_id"))
        if role in Role.STAFF and self.region is None:
            raise Invalid("region_needed", Text(zh="该角色需要 region", en="This role needs a region"))
        return self


class TokenGiven(Said):
    """A bearer token (RFC 6750)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
                    "token_type": "Bearer",
                    "expires_in": 43200,
                }
            ]
        }
    )

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the kind of token, no secret
    expires_in: int = Field(description="Seconds.")


@router.post("/tokens", role=Role.ANYONE, open=True, audit=Kind.SIGN_IN)
async def make_token(asked: TokenAsked, work: Work) -> TokenGiven:
    """Issue a token to anybody.

    For development and demonstration only: with FANGXIAN_DEVELOPMENT_ISSUER=false this operation does not exist.
    """
    actor = actor_of(asked)
    work.audit(kind=Kind.SIGN_IN, actor=actor.during(work.actor.request_id), reason="development")
    token = Issuer.from_files(work.house.settings.keys).issue(actor, _region(asked), asked.lifetime_seconds)
    return TokenGiven(access_token=token, expires_in=asked.lifetime_seconds)


def actor_of(asked: TokenAsked) -> Actor:
    """The actor a token is asked for: staff and doors by range, residents by themselves, machines by party."""
    role = Role.named(asked.role)
    region = _region(asked)
    party = asked.party or (role.label if role in Role.MACHINE else "")
    person = asked.resident_id if role is Role.RESIDENT else None
    return Actor(
        subject=asked.subject or f"development:{role.label}:{person or party or region or 'all'}",
        role=role,
        range=NOTHING if region is None else range_of(region),
        residents=() if person is None else (person,),
        party=party,
    )


def _region(asked: TokenAsked) -> str | None:
    return None if asked.role == Role.RESIDENT.label else asked.region
