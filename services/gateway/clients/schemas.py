"""Clients: request and response bodies."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator

from services.gateway.clients import rules
from shared.contracts.parties import fault_of
from shared.contracts.resource import Schema
from shared.core.actors import Role
from shared.problems import Invalid, LocalizedText

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


class NewClient(Schema):
    """An app in which people sign in (`app`), or a machine that signs in without people (`machine`)."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_MACHINE, EXAMPLE_APP]})

    client_id: ClientName
    kind: rules.Kind
    name: str = Field(min_length=1, max_length=100, description="Name shown on the sign-in page.")
    region: str = Field(
        pattern=r"^([0-9]{2,16})?$", description="Region that the client serves. An empty text means all regions."
    )
    people: rules.People = Field(
        "everyone", description="For an app: who may sign in. Its sign-in page shows only the forms for these people."
    )
    redirect_uris: list[Redirect] = Field(
        [],
        max_length=rules.MOST_REDIRECTS,
        description="For an app: allowed redirect URIs, compared exactly. Empty if residents sign in without a page, "
        "by a phone code or a mini-program.",
    )
    role: str | None = Field(None, description="For a machine: its role.", json_schema_extra={"enum": [*ROLES, None]})
    party: str = Field(
        "", max_length=100, description="For a machine: the party it acts for. For a door: its service point."
    )
    public_keys: list[dict[str, str | list[str]]] = Field(
        [], max_length=5, description="For a machine: public JWKs for private_key_jwt, instead of the secret."
    )

    @field_validator("redirect_uris")
    @classmethod
    def _can_be_sent_to(cls, value: list[str]) -> list[str]:
        if not all(map(rules.is_redirect, value)):
            raise Invalid(
                "redirect_uri_unsafe",
                LocalizedText(
                    zh="回调地址须为 https、本机 http 或应用专用协议",
                    en="Use https, http on a loopback address, or the private scheme of an app",
                ),
            )
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "app" and (self.role is not None or self.public_keys):
            raise Invalid(
                "app_incomplete",
                LocalizedText(zh="应用不能填写角色和公钥", en="An app cannot have a role or public keys"),
            )
        if self.kind == "app" and not self.redirect_uris and self.people == "staff":
            raise Invalid(
                "app_incomplete",
                LocalizedText(
                    zh="面向工作人员的应用须填写回调地址",
                    en="An app for staff requires a redirect URI, because staff sign in on a page",
                ),
            )
        if self.kind == "machine" and (self.redirect_uris or self.people != "everyone"):
            raise Invalid(
                "machine_incomplete",
                LocalizedText(
                    zh="设备或系统不供人员登录，不能填写 redirect_uris 和 people",
                    en="People do not sign in through a machine: remove redirect_uris and people",
                ),
            )
        if self.kind == "machine" and (self.role not in ROLES or not self.party):
            raise Invalid(
                "machine_incomplete",
                LocalizedText(zh="设备或系统须填写 role 和 party", en="A machine requires a role and a party"),
            )
        if self.kind == "machine" and self.role and (fault := fault_of(Role.named(self.role), self.party)):
            raise Invalid("party_malformed", fault[0], **fault[1])
        return self

    @property
    def as_role(self) -> Role | None:
        """The role of a machine; None for an app."""
        return None if self.role is None else Role.named(self.role)


class Client(Schema):
    """An app in which people sign in, or a machine."""

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
    """A client with its secret, which is shown only once. An app has no secret, because it uses PKCE."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**EXAMPLE, "client_secret": "kQ0o7mXb0o1m0c5rW7b0N2yq9Q"}]}
    )

    client_secret: str | None
