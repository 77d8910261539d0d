"""Requests of proxies."""

from uuid import UUID

from pydantic import ConfigDict, Field

from shared.contracts.resource import Schema

EXAMPLE = {
    "guardian_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
    "dependant_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d12",
    "evidence": "户口簿，母女",
}


class NewProxy(Schema):
    """A proxy to register, with the evidence that staff have seen."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(EXAMPLE)]})

    guardian_id: UUID
    dependant_id: UUID
    evidence: str = Field(min_length=1, max_length=200, description="The documents seen, without numbers and names.")
