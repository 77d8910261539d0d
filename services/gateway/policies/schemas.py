"""Policies: what is said."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.codes.policy import Policy, first
from shared.contracts.resource import Said
from shared.jobs import Job


def _second() -> dict[str, Any]:
    return {**first().model_dump(mode="json"), "version": 2}


class PolicyTried(Said):
    """A policy to try on everybody."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policy": _second()}]})

    policy: Policy


class PolicyProposed(Said):
    """A policy that was tried, and why it is needed."""

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
    trial_id: UUID = Field(description="The finished trial of exactly this policy.")
    reason: str = Field(min_length=1, max_length=1_000)


class PolicyPublished(Said):
    """One published version of the rules, and on whose decision it rests."""

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
    proposal_id: UUID | None = Field(description="Null for the first, which came with the system.")
    policy: Policy


EXAMPLE_FOUND: dict[str, Any] = {
    "colours": {"green": 1204, "yellow": 37},
    "changes": {"green>yellow": 12},
    "regions": {"350582005001": {"green>yellow": 12}},
    "rules": {"overdue_retest": 12},
}


class TrialFound(BaseModel):
    """What a trial has found so far."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [EXAMPLE_FOUND]})

    colours: dict[str, int] = Field({}, description="How many people would have each colour.")
    changes: dict[str, int] = Field({}, description="How many would change, by `from>to`.")
    regions: dict[str, dict[str, int]] = Field({}, description="`changes`, by the code of the community.")
    rules: dict[str, int] = Field({}, description="Which rules give the new colour to those who change.")


class TrialJob(Job):
    """A trial of a policy: its state, how far it is, and what it has found."""

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

    result: TrialFound  # type: ignore[assignment]  # the document's only: at run time it is any job's
