"""The development issuer: it gives a token to every caller, so demonstrations and tests need no identity provider.

It exists only if the settings enable it. Production settings reject that.
"""

from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator

from services.gateway.edge.internal_tokens import MOST_SECONDS, Issuer
from shared.audit.kinds import Kind
from shared.contracts.resource import Schema
from shared.core.actors import Actor, Role
from shared.core.regions import NOTHING, range_of
from shared.http.router import Router, Uow
from shared.problems import Invalid, LocalizedText

router = Router(prefix="/gateway/v1/development", tags=["development"])

ROLES = tuple(role.label for role in Role.ANYONE)


class TokenAsked(Schema):
    """The role and scope of the requested token."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"role": "sampler", "region": "350582005"},
                {"role": "resident", "resident_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"},
            ]
        }
    )

    role: str = Field(description="Role of the bearer.", json_schema_extra={"enum": list(ROLES)})
    region: Annotated[str, Field(pattern=r"^([0-9]{2,16})?$")] | None = Field(
        None,
        description="Region of staff and doors: they can access everything in it. An empty text means all regions.",
    )
    resident_id: UUID | None = Field(None, description="For the role `resident`: the resident.")
    party: str = Field(
        "", max_length=100, description="Party of a machine, service point of a door, or organisation of staff."
    )
    subject: str = Field("", max_length=100, description="Subject in the audit; derived from the role if empty.")
    lifetime_seconds: int = Field(MOST_SECONDS, ge=1, le=MOST_SECONDS)

    @field_validator("role")
    @classmethod
    def _is_a_role(cls, value: str) -> str:
        if value not in ROLES:
            raise Invalid("role_unknown", LocalizedText(zh="角色不存在", en="This role does not exist"))
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        role = Role.named(self.role)
        if role is Role.RESIDENT and self.resident_id is None:
            raise Invalid(
                "resident_needed",
                LocalizedText(zh="居民令牌须填写 resident_id", en="The role resident requires a resident_id"),
            )
        if role in Role.STAFF and self.region is None:
            raise Invalid("region_needed", LocalizedText(zh="该角色须填写 region", en="This role requires a region"))
        return self


class TokenGiven(Schema):
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
    expires_in: int = Field(description="Lifetime in seconds.")


@router.post("/tokens", role=Role.ANYONE, public=True, audit=Kind.SIGN_IN)
async def make_token(wanted: TokenAsked, uow: Uow) -> TokenGiven:
    """Issue a token to anybody.

    For development and demonstration only. With FANGXIAN_DEVELOPMENT_ISSUER=false this operation does not exist.
    """
    actor = actor_of(wanted)
    uow.audit(kind=Kind.SIGN_IN, actor=actor.during(uow.actor.request_id), reason="development")
    token = Issuer.from_files(uow.context.settings.keys).issue(actor, _region(wanted), wanted.lifetime_seconds)
    return TokenGiven(access_token=token, expires_in=wanted.lifetime_seconds)


def actor_of(wanted: TokenAsked) -> Actor:
    """Return the actor of a requested token. Its scope is a region, a resident or a party, depending on the role."""
    role = Role.named(wanted.role)
    region = _region(wanted)
    party = wanted.party or (role.label if role in Role.MACHINE else "")
    person = wanted.resident_id if role is Role.RESIDENT else None
    return Actor(
        subject=wanted.subject or f"development:{role.label}:{person or party or region or 'all'}",
        role=role,
        range=NOTHING if region is None else range_of(region),
        residents=() if person is None else (person,),
        party=party,
    )


def _region(wanted: TokenAsked) -> str | None:
    return None if wanted.role == Role.RESIDENT.label else wanted.region
