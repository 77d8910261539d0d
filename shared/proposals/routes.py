"""Proposals: what callers may ask, in each service that has something for two people to decide."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from pydantic import ConfigDict, Field

from shared.actors import Role
from shared.audit.kinds import Kind as Act
from shared.contracts.resource import Said
from shared.http.router import PageAsked, Router, Work
from shared.problems import NotFound
from shared.proposals import use_cases
from shared.proposals.use_cases import (
    PROBLEMS,
    Decision,
    Kind,
    Proposal,
    ProposalDecided,
    ProposalExpired,
    any_of,
)
from shared.settings import Service
from shared.work import Listed

ProposalId = Annotated[UUID, Path(description="The proposal.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2da1"])]


class Withdrawal(Said):
    """Why a proposal is taken back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "文字有误，另行提出"}]})

    reason: str = Field(min_length=1, max_length=1_000)


def proposals_router(service: Service, kinds: Sequence[Kind[Any]]) -> Router:
    """The operations of one service's proposals. What may be proposed is a matter of each capability's own routes."""
    router = Router(prefix=f"/{service}/v1/proposals", tags=["proposals"])
    by_name = {kind.name: kind for kind in kinds}
    proposal = any_of(kinds)
    page_of_proposals: Any = Listed[proposal]  # type: ignore[valid-type]
    deciders = Role(0)
    for kind in kinds:
        deciders |= kind.deciders
    raises = [NotFound, *PROBLEMS, *(problem for kind in kinds for problem in kind.raises)]

    @router.get("", role=Role.STAFF, response_model=page_of_proposals)
    async def list_proposals(
        work: Work,
        page: PageAsked,
        kind: Annotated[
            str | None, Query(max_length=40, description="Only of one kind.", examples=[kinds[0].name])
        ] = None,
        open: Annotated[bool, Query(description="Only those that wait for a decision.")] = False,  # noqa: A002
    ) -> Listed[Proposal]:
        """List proposals in your region, with their outcome."""
        return await use_cases.list_proposals(work, kind, open, page)

    @router.get("/{proposal_id}", role=Role.STAFF, raises=[NotFound], response_model=proposal)
    async def get_proposal(proposal_id: ProposalId, work: Work) -> Proposal:
        """Show a proposal: its content, who proposed it and why."""
        return await use_cases.get_proposal(work, proposal_id)

    @router.post("/{proposal_id}/approve", role=deciders, audit=Act.APPROVAL, raises=raises, response_model=proposal)
    async def approve_proposal(proposal_id: ProposalId, decision: Decision, work: Work) -> Proposal:
        """Approve a proposal of another person. It takes effect at once, exactly once.

        `content_hash` says exactly what you have seen. You cannot approve your own proposal, in any role.
        """
        return await use_cases.approve_proposal(work, by_name, proposal_id, decision)

    @router.post(
        "/{proposal_id}/refuse",
        role=deciders,
        audit=Act.APPROVAL,
        raises=[NotFound, *PROBLEMS],
        response_model=proposal,
    )
    async def refuse_proposal(proposal_id: ProposalId, decision: Decision, work: Work) -> Proposal:
        """Refuse a proposal of another person, with a reason. It has no effect, now or later."""
        return await use_cases.refuse_proposal(work, by_name, proposal_id, decision)

    @router.post(
        "/{proposal_id}/withdraw",
        role=Role.STAFF,
        audit=Act.APPROVAL,
        raises=[NotFound, ProposalDecided, ProposalExpired],
        response_model=proposal,
    )
    async def withdraw_proposal(proposal_id: ProposalId, withdrawal: Withdrawal, work: Work) -> Proposal:
        """Withdraw your own proposal before it is decided."""
        return await use_cases.withdraw_proposal(work, proposal_id, withdrawal.reason)

    return router
