"""Proxies: what is said."""

from uuid import UUID

from pydantic import ConfigDict, Field

from shared.contracts.resource import Said

EXAMPLE = {
    "guardian_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
    "dependant_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d12",
    "evidence": "户口簿，母女",
}


class NewProxy(Said):
    """Who shall act for whom, and what a member of staff has seen that shows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(EXAMPLE)]})

    guardian_id: UUID
    dependant_id: UUID
    evidence: str = Field(min_length=1, max_length=200, description="What was seen; no numbers, no names.")
