"""Sessions: response bodies. All other answers of the issuer follow OpenID Connect."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.contracts.resource import Schema


class Session(Schema):
    """One active session of the caller."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
                    "client_id": "grid-app",
                    "grant_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e11",
                    "began_at": "2026-01-20T08:30:00Z",
                    "used_at": "2026-01-20T09:30:00Z",
                    "expires_at": "2026-01-20T20:30:00Z",
                    "agent": "Mozilla/5.0 (Linux; Android 14)",
                }
            ]
        }
    )

    id: UUID
    client_id: str
    grant_id: UUID | None = Field(description="The grant of the session; null for residents.")
    began_at: datetime
    used_at: datetime
    expires_at: datetime
    agent: str = Field(description="The User-Agent of the browser or app.")
