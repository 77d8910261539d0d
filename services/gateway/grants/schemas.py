"""Grants: request and response bodies."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, field_validator

from services.gateway.grants import rules
from shared.contracts.resource import Schema
from shared.problems import Invalid, LocalizedText

ENDS_BEFORE_START = LocalizedText(zh="结束时间应晚于开始时间", en="The end must be after the start")

Region = Annotated[str, Field(pattern=r"^([0-9]{2,16})?$", description="Region code. An empty text means all regions.")]
ROLES = tuple(role.label for role in rules.GIVEN)

EXAMPLE: dict[str, Any] = {
    "account_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    "role": "grid_worker",
    "region": "3505820050010101",
    "party": "新塘街道社区卫生服务中心",
    "valid_until": "2026-12-31T00:00:00+08:00",
    "why": "2026 年网格安排",
}


class NewGrant(Schema):
    """A role for an account, with region, period and reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    account_id: UUID
    role: str = Field(json_schema_extra={"enum": list(ROLES)})
    region: Region
    party: str = Field(
        min_length=1,
        max_length=100,
        description="The organisation the person acts for, as residents read it. For door roles: the service point.",
    )
    valid_from: AwareDatetime | None = Field(None, description="Start; now by default.")
    valid_until: AwareDatetime | None = Field(None, description="End; without end by default.")
    why: str = Field(min_length=1, max_length=200)

    @field_validator("role")
    @classmethod
    def _is_a_role(cls, value: str) -> str:
        if value not in ROLES:
            raise Invalid("role_unknown", LocalizedText(zh="角色不存在", en="This role does not exist"))
        return value


class GrantReason(Schema):
    """The reason for refusing or ending a grant."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "已调离"}]})

    why: str = Field(min_length=1, max_length=200)


class Grant(Schema):
    """A role of an account in a region for a period."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **EXAMPLE,
                    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e20",
                    "version": 1,
                    "valid_from": "2026-01-01T00:00:00+08:00",
                    "state": "active",
                    "given_by": "account:0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e01",
                    "decided_by": None,
                    "ended_by": None,
                    "ended_why": None,
                }
            ]
        }
    )

    id: UUID
    version: int
    region: str
    account_id: UUID
    role: str
    party: str
    valid_from: datetime
    valid_until: datetime | None
    why: str
    state: Literal["proposed", "active", "refused", "ended"] = Field(
        description="`proposed`: a second person must decide."
    )
    given_by: str
    decided_by: str | None
    ended_by: str | None
    ended_why: str | None
