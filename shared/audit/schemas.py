"""Schemas of the audit: all fields for auditors; for residents the entries about them, without the actor's name."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.audit.kinds import Kind
from shared.contracts.resource import Schema

MOST_SUBJECTS = 20
"""Subjects of one entry in an answer. The export has all of them."""


class AuditEntry(Schema):
    """One entry of the audit, for auditors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "registry-1204",
                    "at": "2021-01-21T01:30:00.000000Z",
                    "kind": "look",
                    "operation": "GET /registry/v1/residents/{resident_id}",
                    "target": "/registry/v1/residents/018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "actor": "staff:42",
                    "role": "grid_worker",
                    "party": "新塘街道社区卫生服务中心",
                    "scope": "3505820050010101",
                    "purpose": "door visit",
                    "reason": "",
                    "request_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "subjects": ["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"],
                    "subjects_total": 1,
                }
            ]
        }
    )

    id: str
    at: datetime
    kind: Kind
    operation: str = Field(description="The method and the path template.")
    target: str = Field(description="The requested path, or the path of the created resource.")
    actor: str
    role: str
    party: str
    scope: str | None = Field(description="The region on whose behalf the actor acted; null for none.")
    purpose: str
    reason: str
    request_id: str
    subjects: list[UUID] = Field(description=f"The residents whose data was used; the first {MOST_SUBJECTS}.")
    subjects_total: int


LOOKED_AT: dict[str, Any] = {
    "id": "registry-1204",
    "service": "registry",
    "at": "2021-01-21T01:30:00.000000Z",
    "kind": "reveal",
    "operation": "POST /registry/v1/residents/{resident_id}/reveal",
    "what": "查看了您未遮盖的信息（姓名、证件号码、电话或住址）",
    "why": "通知本人",
    "reason": "混管异常，需通知复采",
    "role": "grid_worker",
    "role_name": "网格员",
    "party": "新塘街道社区卫生服务中心",
    "organisation": "新塘街道社区卫生服务中心",
    "region": "3505820050010101",
    "purpose": "notification",
    "residents": ["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"],
}


class LookedAt(Schema):
    """One use of your data, or of the data of a person you act for.

    It gives what was done, why, in which role and for which organisation, in the reader's language, but never the name
    of a person.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [LOOKED_AT]})

    id: str = Field(description="The id to quote in a question about this entry.")
    service: str
    at: datetime
    kind: Kind
    operation: str = Field(description="The operation, for programs.")
    what: str = Field(description="What was done, as a sentence without its subject.")
    why: str = Field(description="The stated purpose in words, or the purpose of the operation.")
    reason: str = Field(description="The stated reason if unmasked data was shown; otherwise empty.")
    role: str
    role_name: str = Field(description="The name of the role.")
    party: str = Field(description="The id or name of the actor's organisation, as in the grant or the client.")
    organisation: str = Field(description="The community, clinic, laboratory, desk or service point of the actor.")
    region: str | None = Field(description="The region on whose behalf the actor acted; null for none.")
    purpose: str = Field(description="The stated purpose, for programs; empty if none was stated.")
    residents: list[UUID] = Field(description="Whose data was used: you, or people you act for.")
