"""Clients: what is said."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator

from services.gateway.clients import rules
from shared.actors import Role
from shared.contracts.resource import Said
from shared.parties import fault_of
from shared.problems import Invalid, Text

ROLES = tuple(role.label for role in rules.MACHINES)

EXAMPLE_APP: dict[str, Any] = {
    "client_id": "grid-app",
    "kind": "app",
    "name": "网格员应用",
    "region": "350582005",
    "redirect_uris": ["https://app.example.com/signed-in"],
}
EXAMPLE_MACHINE: dict[str, Any] = {
    "client_id": "lab-jinjiang",
    "kind": "machine",
    "name": "晋江市医院检验科",
    "region": "350582005",
    "role": "laboratory",
    "party": "lab-jinjiang",
}

EXAMPLE: dict[str, Any] = {
    **EXAMPLE_MACHINE,
    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e30",
    "version": 1,
    "people": "everyone",
    "redirect_uris": [],
    "revoked_at": None,
}

ClientName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{2,99}$")]
Redirect = Annotated[str, Field(max_length=500)]


class NewClient(Said):
    """A program that signs people in (`app`), or a machine that signs in itself (`machine`)."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_MACHINE, EXAMPLE_APP]})

    client_id: ClientName
    kind: rules.Kind
    name: str = Field(min_length=1, max_length=100, description="As people see it when they sign in.")
    region: str = Field(pattern=r"^([0-9]{2,16})?$", description="Whom it serves; an empty text is the whole.")
    people: rules.People = Field(
        "everyone", description="Of an app: who signs in by it. Its sign-in page has no other form."
    )
    redirect_uris: list[Redirect] = Field(
        [],
        max_length=rules.MOST_REDIRECTS,
        description="Of an app: compared exactly. None if it signs residents in without a page, by a code to "
        "their phone or by a mini-program.",
    )
    role: str | None = Field(None, description="Of a machine.", json_schema_extra={"enum": [*ROLES, None]})
    party: str = Field("", max_length=100, description="Of a machine: whose tubes, episodes or lists; a door's point.")
    public_keys: list[dict[str, str | list[str]]] = Field(
        [], max_length=5, description="Of a machine: public JWKs, to sign in by private_key_jwt instead of the secret."
    )

    @field_validator("redirect_uris")
    @classmethod
    def _can_be_sent_to(cls, value: list[str]) -> list[str]:
        if not all(map(rules.is_redirect, value)):
            raise Invalid(
                "redirect_uri_unsafe",
                Text(
                    zh="回调地址须为 https、本机 http 或应用专用协议",
                    en="Use https, http on this machine, or an app's scheme",
                ),
            )
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "app" and (self.role is not None or self.public_keys):
            raise Invalid("app_incomplete", Text(zh="应用没有角色和公钥", en="An app has no role and no public keys"))
        if self.kind == "app" and not self.redirect_uris and self.people == "staff":
            raise Invalid(
                "app_incomplete",
                Text(
                    zh="工作人员的应用需要回调地址", en="An app for staff needs a redirect URI: they sign in on a page"
                ),
            )
        if self.kind == "machine" and (self.redirect_uris or self.people != "everyone"):
            raise Invalid(
                "machine_incomplete",
                Text(
                    zh="系统没有回调地址和登录人员",
                    en="People do not sign in through a machine: remove redirect_uris and people",
                ),
            )
        if self.kind == "machine" and (self.role not in ROLES or not self.party):
            raise Invalid("machine_incomplete", Text(zh="系统需要角色和 party", en="A machine has a role and a party"))
        if self.kind == "machine" and self.role and (fault := fault_of(Role.named(self.role), self.party)):
            raise Invalid("party_malformed", fault[0], **fault[1])
        return self

    @property
    def as_role(self) -> Role | None:
        """The role of a machine."""
        return None if self.role is None else Role.named(self.role)


class Client(Said):
    """A program that signs people in, or a machine."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    version: int
    region: str
    client_id: str
    kind: Literal["app", "machine"]
    name: str
    people: rules.People
    redirect_uris: list[str]
    role: str | None
    party: str
    revoked_at: datetime | None


class ClientMade(Client):
    """A client with its secret: shown this once. Apps have none: they prove themselves by PKCE."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**EXAMPLE, "client_secret": "kQ0o7mXb0o1m0c5rW7b0N2yq9Q"}]}
    )

    client_secret: str | None
