"""Requests and responses of referrals and their readings."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from shared.contracts.observation import ReferralState
from shared.contracts.resource import Schema
from shared.contracts.times import Instant
from shared.problems import Invalid, LocalizedText

Symptom = Literal["fever", "dry_cough", "fatigue", "sore_throat", "loss_of_smell_or_taste", "diarrhoea", "other"]


class NewFever(Schema):
    """A measured fever. The person must not travel alone, because 120 comes (article 2)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scan_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "celsius": 38.4,
                    "measured_at": "2021-01-21T08:55:00+08:00",
                },
                {
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "region": "350582005001",
                    "celsius": 38.4,
                    "symptoms": ["fever", "dry_cough"],
                    "measured_at": "2021-01-21T08:55:00+08:00",
                },
            ]
        }
    )

    resident_id: UUID | None = Field(None, description="The person. Send either this or `scan_id`.")
    scan_id: UUID | None = Field(
        None, description="For a door, instead of the person: a scan of its own service point within the last day."
    )
    region: Annotated[str, Field(pattern=r"^([0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{14}|[0-9]{16})$")] | None = Field(
        None, description="Where it was measured. Default with a `scan_id`: the region of the service point."
    )
    celsius: Annotated[float, AfterValidator(lambda celsius: round(celsius, 1))] = Field(
        ge=30, le=45, description="Temperature in °C, rounded to one decimal."
    )
    symptoms: list[Symptom] = Field(default=[], max_length=7, description="Symptoms besides the temperature.")
    measured_at: Instant = Field(description="By the device's clock, RFC 3339.")

    @model_validator(mode="after")
    def _names_one_person(self) -> Self:
        if (self.resident_id is None) == (self.scan_id is None):
            raise Invalid(
                "person_once",
                LocalizedText(
                    zh="resident_id 和 scan_id 须填写且只能填写一项", en="Send either resident_id or scan_id"
                ),
            )
        if self.scan_id is None and self.region is None:
            raise Invalid(
                "region_missing",
                LocalizedText(zh="请填写 region（发现地点）", en="Send the region where it was measured"),
            )
        return self


class ReferralPerson(Schema):
    """The person of an open referral, unmasked, with address and region. Do not store it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "referral_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21",
                    "name": "张三丰",
                    "phone": "15412345678",
                    "address": "晋江市新塘街道沙塘社区和平路 8 号 302 室",
                    "region": "350582005001",
                }
            ]
        }
    )

    referral_id: UUID
    name: str | None
    phone: str | None
    address: str | None = Field(description="Where the person lives.")
    region: str = Field(description="Where the fever was measured. The person may live elsewhere.")


class Fever(Schema):
    """One temperature reading of an episode."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d41",
                    "region": "350582005001",
                    "referral_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21",
                    "role": "village_doctor",
                    "celsius": 38.4,
                    "symptoms": ["fever", "dry_cough"],
                    "measured_at": "2021-01-21T08:55:00+08:00",
                }
            ]
        }
    )

    id: UUID
    region: str
    referral_id: UUID
    role: str = Field(description="The role that measured it.")
    celsius: float
    symptoms: list[str]
    measured_at: datetime


class Standing(Schema):
    """The current stage of a referral, for the crew, the hospital and the people waiting."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "referral_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d21",
                    "state": "dispatched",
                    "since": "2021-01-21T10:20:00+08:00",
                    "due_at": "2021-01-21T11:20:00+08:00",
                    "hospital": "hospital-jinjiang",
                    "cancel_reason": None,
                }
            ]
        }
    )

    referral_id: UUID
    state: ReferralState
    since: datetime = Field(description="When it entered this state, by the clock of the sender.")
    due_at: datetime | None = Field(description="Deadline of the next stage. Null if the referral is closed.")
    hospital: str | None = Field(description="The hospital the person is brought to, if known.")
    cancel_reason: str | None = Field(description="The reason of the cancellation, if any.")


class Cancellation(Schema):
    """The reason to cancel a referral."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "体温计故障，复测 36.6 ℃"}]})

    reason: str = Field(min_length=2, max_length=500)
