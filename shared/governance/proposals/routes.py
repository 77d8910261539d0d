"""Proposals: the routes of each service with acts that need two people."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from pydantic import ConfigDict, Field

from shared.audit.kinds import Kind as Act
from shared.contracts.resource import Schema
from shared.core.actors import Role
from shared.core.settings import Service
from shared.database.paging import Listed
from shared.governance.proposals import use_cases
from shared.governance.proposals.use_cases import (
    PROBLEMS,
    Decision,
    Proposal,
    ProposalDecided,
    ProposalExpired,
    ProposalType,
    any_of,
)
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

ProposalId = Annotated[UUID, Path(description="Id of the proposal.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2da1"])]


class Withdrawal(Schema):
    """The reason for withdrawing a proposal."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "文字有误，另行提出"}]})

    reason: str = Field(min_length=1, max_length=1_000)


def proposals_router(service: Service, kinds: Sequence[ProposalType[Any]]) -> Router:
    """Build the routes of one service's proposals. Each capability has its own routes to create proposals."""
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
        uow: Uow,
        page: PageAsked,
        kind: Annotated[
            str | None, Query(max_length=40, description="Only proposals of this kind.", examples=[kinds[0].name])
        ] = None,
        open: Annotated[bool, Query(description="Only proposals that wait for a decision.")] = False,  # noqa: A002
    ) -> Listed[Proposal]:
        """List proposals in your region, with their outcome."""
        return await use_cases.list_proposals(uow, kind, open, page)

    @router.get("/{proposal_id}", role=Role.STAFF, raises=[NotFound], response_model=proposal)
    async def get_proposal(proposal_id: ProposalId, uow: Uow) -> Proposal:
        """Show a proposal: its content, its proposer and the reason."""
        return await use_cases.get_proposal(uow, proposal_id)

    @router.post("/{proposal_id}/approve", role=deciders, audit=Act.APPROVAL, raises=raises, response_model=proposal)
    async def approve_proposal(proposal_id: ProposalId, decision: Decision, uow: Uow) -> Proposal:
        """Approve a proposal of another person. It takes effect immediately and exactly once.

        `content_hash` proves which content you have read. You cannot approve your own proposal, in any role.
        """
        return await use_cases.approve_proposal(uow, by_name, proposal_id, decision)

    @router.post(
        "/{proposal_id}/refuse",
        role=deciders,
        audit=Act.APPROVAL,
        raises=[NotFound, *PROBLEMS],
        response_model=proposal,
    )
    async def refuse_proposal(proposal_id: ProposalId, decision: Decision, uow: Uow) -> Proposal:
        """Refuse a proposal of another person, with a reason. A refused proposal never takes effect."""
        return await use_cases.refuse_proposal(uow, by_name, proposal_id, decision)

    @router.post(
        "/{proposal_id}/withdraw",
        role=Role.STAFF,
        audit=Act.APPROVAL,
        raises=[NotFound, ProposalDecided, ProposalExpired],
        response_model=proposal,
    )
    async def withdraw_proposal(proposal_id: ProposalId, withdrawal: Withdrawal, uow: Uow) -> Proposal:
        """Withdraw your own proposal before somebody decides it."""
        return await use_cases.withdraw_proposal(uow, proposal_id, withdrawal.reason)

    return router
