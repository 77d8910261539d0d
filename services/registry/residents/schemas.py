"""Requests and responses of residents, registrations and transfers. Responses are masked, except `Revealed`."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.registry.residents.identity import Sex
from services.registry.residents.rules import (
    ADDRESS_CHARACTERS,
    HOUSEHOLD_CHARACTERS,
    NAME_CHARACTERS,
    ClosedReason,
    TransferState,
)
from shared.contracts.registry import Tag
from shared.contracts.resource import Schema
from shared.contracts.times import Day
from shared.problems import Invalid, LocalizedText

HOME = r"^[0-9]{12}([0-9]{2}){0,2}$"
DocumentCode = Literal[10, 14, 15, 20, 34, 99]

HomeRegion = Annotated[str, Field(pattern=HOME, description="A grid, a patch or a community.")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_CHARACTERS)]
Phone = Annotated[str, Field(min_length=5, max_length=30)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=ADDRESS_CHARACTERS)]
Household = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=HOUSEHOLD_CHARACTERS),
    Field(description="A key of the household within the community. People with the same key live together."),
]
DocumentNumber = Annotated[str, Field(min_length=3, max_length=40)]

EXAMPLE_NUMBER = "003582199003070019"


class NewResident(Schema):
    """A person to register."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "张三",
                    "document_number": EXAMPLE_NUMBER,
                    "region": "350582005001",
                    "phone": "15412345678",
                    "address": "晋江市新塘街道沙塘社区1区5号",
                    "household": "H00001",
                }
            ]
        }
    )

    name: Name
    document_type: DocumentCode = Field(default=10, description="10 resident ID, 14 HK/Macao, 15 Taiwan, 20 passport …")
    document_number: DocumentNumber
    region: HomeRegion
    phone: Phone | None = None
    address: Address | None = None
    household: Household | None = None
    birth_date: Day | None = Field(default=None, description="Required if the document is not a resident ID.")
    sex: Sex | None = Field(default=None, description="Required if the document is not a resident ID.")
    pregnant: bool = False
    dependent: bool = Field(default=False, description="Needs care (半自理 or 无自理).")


class Held(Schema):
    """The first and last day of a tag (Asia/Shanghai), both included."""

    valid_from: Day | None = Field(default=None, description="Default: today.")
    valid_until: Day | None = None


class ResidentChange(Schema):
    """The fields to change. A missing field stays as it is; null removes the value."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"phone": "15487654321", "pregnant": {}}]})

    name: Name | None = None
    phone: Phone | None = None
    address: Address | None = None
    household: Household | None = None
    pregnant: Held | None = None
    dependent: Held | None = None

    @model_validator(mode="after")
    def _named(self) -> "ResidentChange":
        if "name" in self.model_fields_set and self.name is None:
            raise Invalid("name_missing", LocalizedText(zh="姓名不能为空", en="The name cannot be empty"))
        return self


class Move(Schema):
    """The new home of a person."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"region": "350582005002", "household": "H00007"}]})

    region: HomeRegion
    address: Address | None = Field(default=None, description="The former address is removed.")
    household: Household | None = None


class Close(Schema):
    """The reason to close a record."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "moved_away"}]})

    reason: ClosedReason


class Recognise(Schema):
    """The verified phone and the document number of a person who signs in."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"document_number": EXAMPLE_NUMBER, "phone": "15412345678"}]}
    )

    document_type: DocumentCode = 10
    document_number: DocumentNumber
    phone: Phone


class Recognised(Schema):
    """The resident with both on record, or null. The response does not reveal which of the two was wrong."""

    resident_id: UUID | None


class Search(Schema):
    """An exact search by either document number or phone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"document_number": EXAMPLE_NUMBER}]})

    document_type: DocumentCode = 10
    document_number: DocumentNumber | None = None
    phone: Phone | None = None

    @model_validator(mode="after")
    def _one(self) -> "Search":
        if (self.document_number is None) == (self.phone is None):
            raise Invalid(
                "one_of_two",
                LocalizedText(zh="请填写证件号码或电话，且只能填写一项", en="Send either a document number or a phone"),
            )
        return self


RevealedField = Literal["name", "document_number", "phone", "address"]
Purpose = Literal["contact_tracing", "home_visit", "medical_transfer", "notification", "identity_check", "correction"]


class Reveal(Schema):
    """The fields to show unmasked, with purpose and reason. The request is audited.

    The person can read the purpose, the reason, and the role and organisation of the caller, but not the caller's name.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "fields": ["phone"],
                    "purpose": "contact_tracing",
                    "reason": "Positive pool: inform the person of the retest",
                }
            ]
        }
    )

    fields: list[RevealedField] = Field(min_length=1, max_length=4)
    purpose: Purpose
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=4, max_length=200)] = Field(
        description="The reason in words, for the person and for later checks. It must not repeat the data.",
        json_schema_extra={"pattern": r"^\s*\S[\s\S]{2,}\S\s*$"},  # at least four characters without outer blanks
    )


class ReferralReveal(Schema):
    """A request of the observation service: the person of a referral, the original caller and the purpose."""

    resident_id: UUID
    referral_id: UUID
    purpose: Literal["transfer", "treatment"]
    operation: str
    actor: dict[str, Any]


class Revealed(BaseModel):
    """The requested data unmasked. Null: not known or not requested. Do not store it."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "name": None,
                    "document_number": None,
                    "phone": "15412345678",
                    "address": None,
                }
            ]
        },
    )

    id: UUID
    name: str | None = None
    document_number: str | None = None
    phone: str | None = None
    address: str | None = None


class ResidentShown(BaseModel):
    """A masked person, as the staff of the person's region and the person see it."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "version": 3,
                    "region": "3505820050010101",
                    "state": "active",
                    "household_id": "2c1d8a51-8b0e-5f0a-8c7d-6b1e0f6f4a10",
                    "tags": [{"kind": "elder", "valid_from": "2050-03-07", "valid_until": None}],
                    "name": "张*",
                    "document_type": 10,
                    "document_number": "003582********0019",
                    "phone": "154****5678",
                    "address": "晋江市新塘街道沙塘社区****",
                    "sex": "male",
                    "closed_reason": None,
                }
            ]
        },
    )

    id: UUID
    version: int
    region: str
    state: Literal["active", "closed"]
    household_id: UUID | None
    tags: tuple[Tag, ...]
    name: str
    document_type: int
    document_number: str
    phone: str | None
    address: str | None
    sex: Sex
    closed_reason: ClosedReason | None


class Found(BaseModel):
    """The people found within the caller's scope."""

    items: list[ResidentShown]


class Registration(BaseModel):
    """A request to register a person. It looks the same whether or not the person is registered elsewhere.

    `settled`: the person `resident_id` is registered in the region. `refused`: for `reason`.
    """

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d33",
                    "version": 1,
                    "region": "350582005001",
                    "state": "received",
                    "reason": None,
                    "resident_id": None,
                    "asked_at": "2021-01-20T08:00:00Z",
                }
            ]
        },
    )

    id: UUID
    version: int
    region: str
    state: Literal["received", "settled", "refused"]
    reason: Literal["resident_exists", "declined"] | None
    resident_id: UUID | None
    asked_at: datetime


class Transfer(BaseModel):
    """A transfer of a person between two regions, with the consent of both.

    The current region decides a *claim*, the new region an *offer*.
    """

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d44",
                    "version": 1,
                    "region": "350582005001",
                    "kind": "claim",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "from_region": "350582005001",
                    "to_region": "350582004001",
                    "name": "张*",
                    "document_number": "003582********0019",
                    "state": "asked",
                    "asked_at": "2021-01-20T08:00:00Z",
                }
            ]
        },
    )

    id: UUID
    version: int
    region: str
    kind: Literal["claim", "offer"]
    resident_id: UUID
    from_region: str
    to_region: str
    name: str
    document_number: str
    state: TransferState
    asked_at: datetime


class Moved(BaseModel):
    """The outcome of a move: done at once within the caller's scope, otherwise offered to the new region."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [{"outcome": "offered", "version": 3, "transfer_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d44"}]
        },
    )

    outcome: Literal["moved", "offered"]
    version: int
    transfer_id: UUID | None = None
