"""Accounts: what is said."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from services.gateway.accounts import rules
from shared.contracts.resource import Said
from shared.problems import Invalid, Text

Region = Annotated[str, Field(pattern=r"^([0-9]{2,16})?$", description="Region code; an empty text is the whole.")]
Login = Annotated[
    str,
    StringConstraints(to_lower=True, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{2,49}$"),
    Field(
        description="The name to sign in with: 3 to 50 small letters, digits, `.`, `_` and `-`, beginning with a "
        "letter or digit. Capitals are made small."
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


class NewAccount(Said):
    """Somebody of the staff."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"login": "lin.grid", "name": "林静", "region": "350582005001"}]}
    )

    login: Login
    name: str = Field(min_length=1, max_length=60)
    region: Region


class Account(Said):
    """A member of staff who can sign in. What they may do, their grants say."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    version: int
    region: str
    login: str
    name: str = Field(description="The name of the person.")
    state: Literal["active", "closed"]
    is_enrolled: bool = Field(description="Whether an authenticator is set up.")


class AccountMade(Account):
    """An account with the link by which its owner sets a password: shown only once, valid for 24 hours."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**EXAMPLE, "is_enrolled": False, "link": "https://gateway.example.cn/sign-in/link/3f1f6b2d8e10"}
            ]
        }
    )

    link: str


class PhoneAsked(Said):
    """A phone that somebody says is theirs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"phone": "13800005678"}]})

    phone: str = Field(min_length=5, max_length=30, description="A mobile that can receive messages.")

    @field_validator("phone")
    @classmethod
    def _is_mobile(cls, value: str) -> str:
        number = rules.mobile_number(value)
        if number is None:
            raise Invalid("phone_form", Text(zh="应为能接收短信的手机号", en="This must be a mobile number"))
        return number


class Challenge(Said):
    """What proves, together with the code that is sent, whose the phone is."""

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
    challenge_secret: str = Field(description="For who asked alone: nobody else can use up the tries.")
    expires_in: int = Field(description="Seconds for which the code that was sent is still good.")


class AccountChange(Said):
    """Whether somebody can still sign in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"state": "closed"}]})

    state: Literal["active", "closed"]


class PhoneProof(Said):
    """An answered challenge: `POST /gateway/v1/phone-challenges`, and the code that was sent."""

    challenge_id: UUID
    challenge_secret: str = Field(max_length=200)
    code: str = Field(max_length=20)


class WhoIAm(Said):
    """What shows which resident somebody is, beside their phone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"document_number": "003582199003070019"}]})

    document_type: Literal[10, 14, 15, 20, 34, 99] = 10
    document_number: str = Field(min_length=3, max_length=40)
    phone: PhoneProof | None = Field(None, description="Needed where the account has no phone yet.")


class Bound(Said):
    """Which resident an account is, and an access token that acts for them from now on. The refresh token stays."""

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
    access_token: str | None = Field(None, description="In place of the one before, which acts for nobody.")
    token_type: Literal["Bearer"] | None = None
    expires_in: int | None = Field(None, description="Seconds.")
