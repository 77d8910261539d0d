"""Use cases of policies. A policy is tried, proposed, approved by a second person and then applied to everybody."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from services.gateway.codes import use_cases as codes
from services.gateway.codes.policy import Policy, first
from services.gateway.codes.rules import colour_at, evaluate
from services.gateway.codes.tables import PolicyRow
from services.gateway.policies import rules
from services.gateway.policies.schemas import PolicyPublished
from shared.core.actors import Role
from shared.core.regions import EVERYTHING
from shared.database.paging import Listed, Page, Position, listed
from shared.database.unit_of_work import UnitOfWork
from shared.governance.proposals.rules import hash_of
from shared.governance.proposals.use_cases import Proposal, ProposalType, propose
from shared.jobs import queue
from shared.jobs.queue import Job, Run
from shared.problems import LocalizedText, NotFound, Problem

TRIAL, APPLICATION = "try_policy", "apply_policy"
CHUNK = 5_000


class PolicyTaken(Problem):
    """The version is not the current version plus one."""

    status = 409
    code = "policy_taken"
    title = LocalizedText(zh="该版本号不是下一个版本", en="This is not the next version number")
    fix = LocalizedText(
        zh="请将版本号设为现行版本号加一，重新试算后再提出",
        en="Use the current version plus one, run a new trial and propose it again",
    )


class PolicyNotTried(Problem):
    """No trial of exactly this policy has succeeded."""

    status = 409
    code = "policy_not_tried"
    title = LocalizedText(zh="该赋码规则尚未试算", en="No trial of this policy has succeeded")
    fix = LocalizedText(
        zh="请先用同一份规则进行试算，完成后再提出",
        en="First run a trial of exactly this policy. Propose it when the trial has succeeded",
    )


SELECT_IS_TRIED = text("""
    SELECT EXISTS (
        SELECT FROM jobs WHERE id = :id AND kind = :kind AND state = 'succeeded' AND input ->> 'hash' = :hash
    )
""")
SELECT_LATEST_VERSION = text("SELECT max(version) AS version FROM policies")
SELECT_CODES = text("""
    SELECT resident_id, region, colour, until, colour_after, green_from FROM codes
    WHERE resident_id > :after ORDER BY resident_id LIMIT :limit
""")


async def list_policies(uow: UnitOfWork, page: Page) -> Listed[PolicyPublished]:
    """List the published versions."""
    query = (
        select(PolicyRow).where(PolicyRow.version > page.after.seq).order_by(PolicyRow.version).limit(page.limit + 1)
    )
    return listed((await uow.session.scalars(query)).all(), page, _public, lambda row: Position(seq=row.version))


async def get_policy(uow: UnitOfWork, version: int) -> PolicyPublished:
    """Return one published version. Raises NotFound."""
    row = await uow.session.get(PolicyRow, version)
    if row is None:
        raise NotFound()
    return _public(row)


async def try_policy(uow: UnitOfWork, policy: Policy) -> Job:
    """Queue a trial of a policy on all people in the caller's region."""
    document = policy.model_dump(mode="json")
    return await queue.add(uow, TRIAL, uow.actor.range[0], {"policy": document, "hash": hash_of(document)})


async def propose_policy(uow: UnitOfWork, policy: Policy, trial_id: UUID, reason: str) -> Proposal:
    """Propose a policy. Its trial must have the same hash, so that exactly the tried policy is approved."""
    await _expect_next(uow, policy)
    tried = await uow.rows(SELECT_IS_TRIED, id=trial_id, kind=TRIAL, hash=hash_of(policy.model_dump(mode="json")))
    if not tried[0]["exists"]:
        raise PolicyNotTried(at="/trial_id")
    return await propose(uow, POLICY, policy, reason)


async def publish_policy(uow: UnitOfWork, policy: Policy, proposal_id: UUID) -> None:
    """Publish an approved policy, and queue its application to all people in all regions."""
    await _expect_next(uow, policy)
    uow.session.add(PolicyRow(version=policy.version, document=policy.model_dump(mode="json"), proposal_id=proposal_id))
    await uow.session.flush()
    await queue.add(uow, APPLICATION, uow.actor.range[0], {"version": policy.version}, scope=EVERYTHING)


async def _expect_next(uow: UnitOfWork, policy: Policy) -> None:
    (latest,) = await uow.rows(SELECT_LATEST_VERSION)
    if policy.version != latest["version"] + 1:
        raise PolicyTaken(at="/policy/version")


async def run_trial(job: Run) -> None:
    """Count the colours that a policy would give to all people. Writes no code."""
    policy = Policy.model_validate(job.input["policy"])

    async def count(uow: UnitOfWork, people: Sequence[Any]) -> None:
        facts = await codes.facts_of(uow, [one.resident_id for one in people])
        decided = [
            ((one.region, colour_at(one, uow.now)), evaluate(facts.get(one.resident_id, ()), policy, uow.now))
            for one in people
        ]
        job.result |= rules.tally(job.result, decided)

    await _for_everybody(job, count)


async def run_application(job: Run) -> None:
    """Evaluate the codes of all people with the published policy."""

    async def apply(uow: UnitOfWork, people: Sequence[Any]) -> None:
        await codes.reevaluate(uow, [one.resident_id for one in people])

    await _for_everybody(job, apply)


async def _for_everybody(job: Run, do: Callable[[UnitOfWork, Sequence[Any]], Awaitable[None]]) -> None:
    """Call `do` for chunks of people in the order of ids, one transaction each. Resumes after the last commit."""
    while True:
        async with job.unit_of_work() as uow:
            people = await _people(uow, job.result.get("after"))
            if not people:
                return
            await do(uow, people)
            job.result["after"] = str(people[-1].resident_id)
            await job.progress(uow, len(people))


async def _people(uow: UnitOfWork, after: str | None) -> Sequence[Any]:
    values = {"after": UUID(after) if after else codes.NOBODY, "limit": CHUNK}
    return (await uow.session.execute(SELECT_CODES, values)).all()


def _public(row: PolicyRow) -> PolicyPublished:
    return PolicyPublished(
        version=row.version,
        published_at=row.published_at,
        proposal_id=row.proposal_id,
        policy=Policy.model_validate(row.document),
    )


POLICY = ProposalType("policy", Policy, Role.COMMAND, publish_policy, raises=[PolicyTaken], example=first())
