"""Proposals: the use cases. A decision and its effect are one transaction, so the effect happens once or not at all."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Annotated, Any, Generic, Literal, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from shared.contracts.resource import Schema
from shared.core.actors import Role
from shared.core.ids import new_id
from shared.core.regions import covers
from shared.database.paging import Listed, Page, Position, listed
from shared.database.unit_of_work import UnitOfWork
from shared.governance.proposals import rules
from shared.governance.proposals.rules import Move, State
from shared.http.described import DescribedBy
from shared.http.openapi_schemas import camel
from shared.problems import Forbidden, LocalizedText, NotFound, Problem
from shared.runtime.context import ServiceContext

Content = TypeVar("Content", bound=BaseModel)


class ProposalDecided(Problem):
    """The proposal was already approved, refused or withdrawn."""

    status = 409
    code = "proposal_decided"
    title = LocalizedText(zh="该提案已有结论", en="The proposal has already been decided")
    what = LocalizedText(zh="该提案已有结论：{state}", en="The proposal has already been decided: {state}")
    fix = LocalizedText(zh="如仍有需要，请重新提出", en="If it is still needed, make a new proposal")


class ProposalExpired(Problem):
    """Nobody decided the proposal in time."""

    status = 409
    code = "proposal_expired"
    title = LocalizedText(zh="该提案已过期", en="The proposal has expired")
    fix = LocalizedText(zh="如仍有需要，请重新提出", en="If it is still needed, make a new proposal")


class ProposalSamePerson(Problem):
    """The proposer may not decide the proposal, in any role."""

    status = 403
    code = "proposal_same_person"
    title = LocalizedText(zh="提出人不能审批自己的提案", en="You cannot decide your own proposal")
    fix = LocalizedText(zh="请由另一人审批；如不再需要，可撤回", en="Ask another person to decide, or withdraw it")


class ProposalContentDiffers(Problem):
    """The content that the decider has read is not the content of the proposal."""

    status = 409
    code = "proposal_content_differs"
    title = LocalizedText(zh="所审批的内容与提案不符", en="The content you decided on differs from the proposal")
    fix = LocalizedText(
        zh="请重新查看提案，并提交其 content_hash", en="Read the proposal again and send its content_hash"
    )


STATES: Mapping[State, LocalizedText] = {
    "proposed": LocalizedText(zh="待审批", en="proposed"),
    "approved": LocalizedText(zh="已批准", en="approved"),
    "refused": LocalizedText(zh="未批准", en="refused"),
    "withdrawn": LocalizedText(zh="已撤回", en="withdrawn"),
    "expired": LocalizedText(zh="已过期", en="expired"),
}

PROBLEMS = (ProposalDecided, ProposalExpired, ProposalSamePerson, ProposalContentDiffers)


@dataclass(frozen=True)
class ProposalType(Generic[Content]):
    """One kind of act that needs two people.

    `happen` carries out the effect in the transaction of the approval, on behalf of the approver. If it raises a
    problem, the proposal stays as it was.
    """

    name: str
    content: type[Content]
    deciders: Role
    happen: Callable[[UnitOfWork, Content, UUID], Awaitable[None]]
    raises: Sequence[type[Problem]] = ()
    days: int = 7
    example: Content | None = None
    """An example of the content, if its class has no example."""

    @property
    def proposal(self) -> Any:
        """The type for `response_model`: any proposal at run time, a proposal of this kind in the document."""
        return Annotated[Proposal, DescribedBy(lambda: _proposal_of(self))]


ProposalTypes = Mapping[str, ProposalType[Any]]


class Decision(Schema):
    """Approval or refusal of exactly the content that was read."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"content_hash": "9f" * 32, "reason": "与市指挥部第3号通告一致"}]}
    )

    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$", description="As the proposal shows it.")
    reason: str = Field(min_length=1, max_length=1_000)


EXAMPLE: dict[str, Any] = {
    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2da1",
    "kind": "policy",
    "region": "350582005",
    "state": "proposed",
    "content": {"version": 2},
    "content_hash": "9f" * 32,
    "reason": "第九版防控方案",
    "proposed_by": "officer-17",
    "proposed_at": "2022-06-28T09:00:00+08:00",
    "expires_at": "2022-07-05T09:00:00+08:00",
    "decided_by": None,
    "decided_at": None,
    "decision": None,
}


class Proposal(Schema):
    """An act that somebody proposed, and the decision about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    kind: str
    region: str = Field(description="Where it applies. Proposer and decider must be responsible for this region.")
    state: State
    content: dict[str, Any] = Field(description="The exact content that is proposed.")
    content_hash: str = Field(description="SHA-256 of the content: JSON, keys sorted, no spaces, UTF-8.")
    reason: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision: str | None = Field(description="Why it was approved, refused or withdrawn.")


_described: dict[str, type[Proposal]] = {}
"""One class for each kind, because two classes of one name would become two schemas in the document."""


def _proposal_of(kind: ProposalType[Any]) -> type[Proposal]:
    """Build the model of a proposal of one kind, for the OpenAPI document."""
    if kind.name not in _described:
        if kind.example is not None:
            content = kind.example.model_dump(mode="json")
        else:
            (content, *_) = kind.content.model_json_schema()["examples"]
        example = {**EXAMPLE, "kind": kind.name, "content": content}

        class OfKind(Proposal):
            model_config = ConfigDict(json_schema_extra={"examples": [example]})

        _described[kind.name] = create_model(
            f"{camel(kind.name)}Proposal",
            __base__=OfKind,
            __doc__=Proposal.__doc__,
            kind=(cast("Any", Literal[kind.name]), ...),
            content=(kind.content, ...),
        )
    return _described[kind.name]


def any_of(kinds: Sequence[ProposalType[Any]]) -> Any:
    """Build the `response_model` for a proposal of any of these kinds. In the document `kind` discriminates them."""

    def described() -> Any:
        models: list[Any] = [_proposal_of(kind) for kind in kinds]
        if len(models) == 1:
            return models[0]
        return Annotated[reduce(or_, models), Field(discriminator="kind")]

    return Annotated[Proposal, DescribedBy(described)]


INSERT_PROPOSAL = text("""
    INSERT INTO proposals (id, region, kind, content, content_hash, reason_sealed, proposed_by, proposed_at, expires_at)
    VALUES (:id, :region, :kind, CAST(:content AS jsonb), :content_hash, :reason, :by, :now, :expires_at)
    RETURNING *
""")
SELECT_PROPOSAL = text("SELECT * FROM proposals WHERE id = :id")
LOCK_PROPOSAL = text("SELECT * FROM proposals WHERE id = :id FOR UPDATE")
SELECT_PROPOSALS = text("""
    SELECT * FROM proposals
    WHERE seq > :after AND (CAST(:kind AS text) IS NULL OR kind = :kind) AND (NOT :open OR state = 'proposed')
    ORDER BY seq LIMIT :limit
""")
DECIDE_PROPOSAL = text("""
    UPDATE proposals SET state = :state, decided_by = :by, decided_at = :now, decision_sealed = :decision,
        version = version + 1
    WHERE id = :id
    RETURNING *
""")
EXPIRE_PROPOSALS = text("""
    UPDATE proposals SET state = 'expired', version = version + 1 WHERE state = 'proposed' AND expires_at <= :now
""")


async def propose(
    uow: UnitOfWork, kind: ProposalType[Content], content: Content, reason: str, *, region: str | None = None
) -> Proposal:
    """Create a proposal for another person to decide. Raises `Forbidden`.

    It applies to `region`, or to the whole installation if that is None. Proposer and decider must be responsible for
    all of it.
    """
    if not covers(uow.actor.range, region or uow.context.settings.region):
        raise Forbidden()
    id_ = new_id()
    payload = content.model_dump(mode="json")
    (row,) = await uow.rows(
        INSERT_PROPOSAL,
        id=id_,
        region=region or uow.actor.range[0],
        kind=kind.name,
        content=json.dumps(payload),
        content_hash=rules.hash_of(payload),
        reason=uow.context.keyring.encrypt("proposals.reason", id_, reason),
        by=uow.actor.subject,
        now=uow.now,
        expires_at=uow.now + timedelta(days=kind.days),
    )
    return _to_public(uow, row)


async def get_proposal(uow: UnitOfWork, id: UUID) -> Proposal:  # noqa: A002
    """Return a proposal. Raises `NotFound`."""
    return _to_public(uow, _one(await uow.rows(SELECT_PROPOSAL, id=id)))


async def list_proposals(uow: UnitOfWork, kind: str | None, only_open: bool, page: Page) -> Listed[Proposal]:
    """List proposals, oldest first."""
    rows = await uow.rows(SELECT_PROPOSALS, after=page.after.seq, kind=kind, open=only_open, limit=page.limit + 1)
    return listed(rows, page, lambda row: _to_public(uow, row), lambda row: Position(seq=row["seq"]))


async def approve_proposal(uow: UnitOfWork, kinds: ProposalTypes, id: UUID, decision: Decision) -> Proposal:  # noqa: A002
    """Approve a proposal and carry out its effect in this transaction. The row lock serializes concurrent approvals."""
    row = await _decidable(uow, kinds, id, decision)
    kind = kinds[row["kind"]]
    decided = await _decide(uow, row, "approve", decision.reason)
    await kind.happen(uow, kind.content.model_validate_json(json.dumps(row["content"])), id)
    return decided


async def refuse_proposal(uow: UnitOfWork, kinds: ProposalTypes, id: UUID, decision: Decision) -> Proposal:  # noqa: A002
    """Refuse a proposal of another person."""
    row = await _decidable(uow, kinds, id, decision)
    return await _decide(uow, row, "refuse", decision.reason)


async def withdraw_proposal(uow: UnitOfWork, id: UUID, reason: str) -> Proposal:  # noqa: A002
    """Withdraw the caller's own proposal. Raises `Forbidden` for that of another person."""
    row = _one(await uow.rows(LOCK_PROPOSAL, id=id))
    if not rules.is_same_person(row["proposed_by"], uow.actor.subject):
        raise Forbidden()
    return await _decide(uow, row, "withdraw", reason)


async def expire_proposals(context: ServiceContext) -> None:
    """Store the expiry of undecided proposals. Readers do not depend on it, because they compute it from the time."""
    async with context.system_unit_of_work("expire_proposals") as uow:
        await uow.run(EXPIRE_PROPOSALS, now=uow.now)


async def _decidable(uow: UnitOfWork, kinds: ProposalTypes, id: UUID, decision: Decision) -> RowMapping:  # noqa: A002
    row = _one(await uow.rows(LOCK_PROPOSAL, id=id))
    if uow.actor.role not in kinds[row["kind"]].deciders:
        raise Forbidden()
    if rules.is_same_person(row["proposed_by"], uow.actor.subject):
        raise ProposalSamePerson()
    # Hash the stored content again, so that content changed in the database after the proposal cannot be approved.
    if not decision.content_hash == row["content_hash"] == rules.hash_of(row["content"]):
        raise ProposalContentDiffers(at="/content_hash")
    return row


async def _decide(uow: UnitOfWork, row: RowMapping, move: Move, why: str) -> Proposal:
    state = rules.state_at(row["state"], row["expires_at"], uow.now)
    to = rules.MOVES.get((state, move))
    if to is None:
        raise ProposalExpired() if state == "expired" else ProposalDecided(state=STATES[state])
    (decided,) = await uow.rows(
        DECIDE_PROPOSAL,
        id=row["id"],
        state=to,
        by=uow.actor.subject,
        now=uow.now,
        decision=uow.context.keyring.encrypt("proposals.decision", row["id"], why),
    )
    return _to_public(uow, decided)


def _one(rows: Any) -> RowMapping:
    if not rows:
        raise NotFound()
    row: RowMapping = rows[0]
    return row


def _to_public(uow: UnitOfWork, row: RowMapping) -> Proposal:
    ring, id_, decision = uow.context.keyring, row["id"], row["decision_sealed"]
    return Proposal(
        id=id_,
        kind=row["kind"],
        region=row["region"],
        state=rules.state_at(row["state"], row["expires_at"], uow.now),
        content=row["content"],
        content_hash=row["content_hash"],
        reason=ring.decrypt_or_placeholder("proposals.reason", id_, row["reason_sealed"]),
        proposed_by=row["proposed_by"],
        proposed_at=row["proposed_at"],
        expires_at=row["expires_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        decision=None if decision is None else ring.decrypt_or_placeholder("proposals.decision", id_, decision),
    )
