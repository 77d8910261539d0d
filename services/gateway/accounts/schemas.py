"""Accounts: request and response bodies."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from services.gateway.accounts import rules
from shared.contracts.resource import Schema
from shared.problems import Invalid, LocalizedText

Region = Annotated[str, Field(pattern=r"^([0-9]{2,16})?$", description="Region code. An empty text means all regions.")]
Login = Annotated[
    str,
    StringConstraints(to_lower=True, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{2,49}$"),
    Field(
        description="Name to sign in with: 3 to 50 lower-case letters, digits, `.`, `_` and `-`. The first character "
        "is a letter or digit. Upper-case letters are converted to lower case."
    ),
]


EXAMPLE: dict[str, Any] = {
    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    "version": 1,
    "region": "350582005001",
    "login": "lin.grid",
    "name": "林静",
    "state": "active",
    "is_enrolled": True,
}


class NewAccount(Schema):
    """A new account for a member of staff."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"login": "lin.grid", "name": "林静", "region": "350582005001"}]}
    )

    login: Login
    name: str = Field(min_length=1, max_length=60)
    region: Region


class Account(Schema):
    """The account of a member of staff. Grants define what the account may do."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    version: int
    region: str
    login: str
    name: str = Field(description="The name of the person.")
    state: Literal["active", "closed"]
    is_enrolled: bool = Field(description="Whether an authenticator is set up.")


class AccountMade(Account):
    """An account with the link to set its password. The link is shown only once and is valid for 24 hours."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**EXAMPLE, "is_enrolled": False, "link": "https://gateway.example.cn/sign-in/link/3f1f6b2d8e10"}
            ]
        }
    )

    link: str


class PhoneAsked(Schema):
    """A phone number to verify."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"phone": "13800005678"}]})

    phone: str = Field(min_length=5, max_length=30, description="A mobile number that can receive text messages.")

    @field_validator("phone")
    @classmethod
    def _is_mobile(cls, value: str) -> str:
        number = rules.mobile_number(value)
        if number is None:
            raise Invalid(
                "phone_form",
                LocalizedText(
                    zh="应为可接收短信的手机号", en="This must be a mobile number that can receive text messages"
                ),
            )
        return number


class Challenge(Schema):
    """A challenge. Together with the code in the text message it proves that a phone is yours."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "challenge_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e11",
                    "challenge_secret": "q3Jm0r5b0jWk2m8uYp1v7A",
                    "expires_in": 300,
                }
            ]
        }
    )

    challenge_id: UUID
    challenge_secret: str = Field(description="Keep it secret: only its holder can use the tries of this challenge.")
    expires_in: int = Field(description="Remaining lifetime of the code in seconds.")


class AccountChange(Schema):
    """The new state of an account."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"state": "closed"}]})

    state: Literal["active", "closed"]


class PhoneProof(Schema):
    """A challenge of `POST /gateway/v1/phone-challenges` with the code from the text message."""

    challenge_id: UUID
    challenge_secret: str = Field(max_length=200)
    code: str = Field(max_length=20)


class WhoIAm(Schema):
    """The document of a resident. Together with the phone it proves who the resident is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"document_number": "003582199003070019"}]})

    document_type: Literal[10, 14, 15, 20, 34, 99] = 10
    document_number: str = Field(min_length=3, max_length=40)
    phone: PhoneProof | None = Field(None, description="Required if the account has no verified phone yet.")


class Bound(Schema):
    """The linked resident, with an access token that acts for them. The refresh token does not change."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "access_token": "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJhY2NvdW50In0.c2lnbmF0dXJl",
                    "token_type": "Bearer",
                    "expires_in": 600,
                }
            ]
        }
    )

    resident_id: UUID
    access_token: str | None = Field(
        None, description="Replaces the previous access token, which acts for no resident."
    )
    token_type: Literal["Bearer"] | None = None
    expires_in: int | None = Field(None, description="Lifetime of the access token in seconds.")
