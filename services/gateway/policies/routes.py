"""Routes of policies (G2). Everybody may read them, because the rules concern everybody."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path

from services.gateway.policies import use_cases
from services.gateway.policies.schemas import PolicyProposed, PolicyPublished, PolicyTried, TrialJob
from services.gateway.policies.use_cases import PolicyNotTried, PolicyTaken
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.governance.proposals.use_cases import Proposal
from shared.http.described import DescribedBy
from shared.http.router import PageAsked, Router, Uow
from shared.jobs import queue
from shared.jobs.queue import Job, JobEnded
from shared.problems import NotFound

router = Router(prefix="/gateway/v1/policies", tags=["policies"])

Version = Annotated[int, Path(ge=1, le=1_000_000, description="The version of the policy.", examples=[1])]
TrialId = Annotated[UUID, Path(description="Id of a trial.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2db1"])]

TRIAL_JOB: Any = Annotated[Job, DescribedBy(lambda: TrialJob)]
"""At run time any job, because the result of a trial grows while it runs. In the OpenAPI document a TrialJob."""


@router.get("", role=Role.ANYONE)
async def list_policies(uow: Uow, page: PageAsked) -> Listed[PolicyPublished]:
    """List all published versions of the policy that decides the colours of codes."""
    return await use_cases.list_policies(uow, page)


@router.post(
    "/trials", role=Role.COMMAND, status=202, location="/gateway/v1/policies/trials/{id}", response_model=TRIAL_JOB
)
async def try_policy(tried: PolicyTried, uow: Uow) -> Job:
    """Start a trial of a policy: count how many people in your region would get which colour, where and why.

    A trial does not change any code.
    """
    return await use_cases.try_policy(uow, tried.policy)


@router.get("/trials/{trial_id}", role=Role.COMMAND, raises=[NotFound], response_model=TRIAL_JOB)
async def get_policy_trial(trial_id: TrialId, uow: Uow) -> Job:
    """Show the progress and the results of a trial."""
    return await queue.get(uow, trial_id, use_cases.TRIAL)


@router.post("/trials/{trial_id}/cancel", role=Role.COMMAND, raises=[NotFound, JobEnded], response_model=TRIAL_JOB)
async def cancel_policy_trial(trial_id: TrialId, uow: Uow) -> Job:
    """Stop a trial."""
    return await queue.cancel(uow, trial_id, use_cases.TRIAL)


@router.get("/{version}", role=Role.ANYONE, raises=[NotFound])
async def get_policy(version: Version, uow: Uow) -> PolicyPublished:
    """Show one published version of the policy. Each rule names its source."""
    return await use_cases.get_policy(uow, version)


@router.post(
    "",
    role=Role.COMMAND,
    status=201,
    audit=Kind.APPROVAL,
    location="/gateway/v1/proposals/{id}",
    raises=[PolicyTaken, PolicyNotTried],
    response_model=use_cases.POLICY.proposal,
)
async def propose_policy(proposed: PolicyProposed, uow: Uow) -> Proposal:
    """Propose the next policy. When a second person approves it, it is published and applied to everybody.

    A trial of exactly this policy must have succeeded before.
    """
    return await use_cases.propose_policy(uow, proposed.policy, proposed.trial_id, proposed.reason)
