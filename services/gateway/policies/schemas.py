"""Policies: request and response bodies."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.codes.policy import Policy, first
from shared.contracts.resource import Schema
from shared.jobs.queue import Job


def _second() -> dict[str, Any]:
    return {**first().model_dump(mode="json"), "version": 2}


class PolicyTried(Schema):
    """A policy for a trial."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policy": _second()}]})

    policy: Policy


class PolicyProposed(Schema):
    """A policy to publish, with its trial and the reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "policy": _second(),
                    "trial_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2db1",
                    "reason": "国家第九版防控方案",
                }
            ]
        }
    )

    policy: Policy
    trial_id: UUID = Field(description="Id of a succeeded trial of exactly this policy.")
    reason: str = Field(min_length=1, max_length=1_000)


class PolicyPublished(Schema):
    """One published version of the rules, with the proposal that approved it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": 1,
                    "published_at": "2021-01-20T08:00:00+08:00",
                    "proposal_id": None,
                    "policy": first().model_dump(mode="json"),
                }
            ]
        }
    )

    version: int
    published_at: datetime
    proposal_id: UUID | None = Field(description="Null for version 1, which is part of the system.")
    policy: Policy


EXAMPLE_FOUND: dict[str, Any] = {
    "colours": {"green": 1204, "yellow": 37},
    "changes": {"green>yellow": 12},
    "regions": {"350582005001": {"green>yellow": 12}},
    "rules": {"overdue_retest": 12},
}


class TrialFound(BaseModel):
    """The result of a trial so far."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [EXAMPLE_FOUND]})

    colours: dict[str, int] = Field({}, description="Number of people who would have each colour.")
    changes: dict[str, int] = Field({}, description="Number of people whose colour would change, by `from>to`.")
    regions: dict[str, dict[str, int]] = Field({}, description="`changes` by community code.")
    rules: dict[str, int] = Field({}, description="Number of changed people by the rule that gives the new colour.")


class TrialJob(Job):
    """A trial of a policy: state, progress and result."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2db1",
                    "kind": "try_policy",
                    "state": "succeeded",
                    "total": 1241,
                    "done": 1241,
                    "result": EXAMPLE_FOUND,
                    "error": None,
                }
            ]
        }
    )

    result: TrialFound  # type: ignore[assignment]  # only for the OpenAPI document
