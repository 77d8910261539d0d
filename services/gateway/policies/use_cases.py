"""Policies: what happens. A policy is tried on everybody, proposed, approved by a second person, and then applied."""

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
from shared import jobs
from shared.actors import Role
from shared.jobs import Job, Run
from shared.problems import NotFound, Problem, Text
from shared.proposals.rules import hash_of
from shared.proposals.use_cases import Kind, Proposal, propose
from shared.regions import EVERYTHING
from shared.work import Listed, Page, Place, Work, listed

TRIAL, APPLICATION = "try_policy", "apply_policy"
CHUNK = 5_000


class PolicyTaken(Problem):
    """Versions are counted one by one, and each is published once."""

    status = 409
    code = "policy_taken"
    title = Text(zh="该版本号不是下一个版本", en="This is not the next version number")
    fix = Text(
        zh="请以现行版本加一为版本号，重新试算后提出",
        en="Use the current version plus one, run a new trial, then propose it",
    )


class PolicyNotTried(Problem):
    """There is no finished trial of exactly this policy."""

    status = 409
    code = "policy_not_tried"
    title = Text(zh="该政策尚未试算", en="No trial of this policy has been run")
    fix = Text(
        zh="请先对全体居民试算同一份政策，待任务完成后再提出",
        en="First run a trial of exactly this policy on all residents; propose it when that job has succeeded",
    )


TRIED = text("""
    SELECT EXISTS (
        SELECT FROM jobs WHERE id = :id AND kind = :kind AND state = 'succeeded' AND input ->> 'hash' = :hash
    )
""")
NEWEST = text("SELECT max(version) AS version FROM policies")
PEOPLE = text("""
    SELECT resident_id, region, colour, until, colour_after, green_from FROM codes
    WHERE resident_id > :after ORDER BY resident_id LIMIT :limit
""")


async def list_policies(work: Work, page: Page) -> Listed[PolicyPublished]:
    after = (
        select(PolicyRow).where(PolicyRow.version > page.after.seq).order_by(PolicyRow.version).limit(page.limit + 1)
    )
    return listed((await work.session.scalars(after)).all(), page, _say, lambda row: Place(seq=row.version))


async def get_policy(work: Work, version: int) -> PolicyPublished:
    row = await work.session.get(PolicyRow, version)
    if row is None:
        raise NotFound()
    return _say(row)


async def try_policy(work: Work, policy: Policy) -> Job:
    """Queue a trial of a policy on everybody within the caller's scope."""
    document = policy.model_dump(mode="json")
    return await jobs.add(work, TRIAL, work.actor.range[0], {"policy": document, "hash": hash_of(document)})


async def propose_policy(work: Work, policy: Policy, trial_id: UUID, reason: str) -> Proposal:
    """Propose a policy that was tried. What is tried, proposed and approved is the same to the byte."""
    await _expect_next(work, policy)
    tried = await work.rows(TRIED, id=trial_id, kind=TRIAL, hash=hash_of(policy.model_dump(mode="json")))
    if not tried[0]["exists"]:
        raise PolicyNotTried(at="/trial_id")
    return await propose(work, POLICY, policy, reason)


async def publish_policy(work: Work, policy: Policy, proposal_id: UUID) -> None:
    """Publish what two people agreed on, and queue its application to everybody, wherever they live."""
    await _expect_next(work, policy)
    work.session.add(
        PolicyRow(version=policy.version, document=policy.model_dump(mode="json"), proposal_id=proposal_id)
    )
    await work.session.flush()
    await jobs.add(work, APPLICATION, work.actor.range[0], {"version": policy.version}, scope=EVERYTHING)


async def _expect_next(work: Work, policy: Policy) -> None:
    (newest,) = await work.rows(NEWEST)
    if policy.version != newest["version"] + 1:
        raise PolicyTaken(at="/policy/version")


async def run_trial(job: Run) -> None:
    """Find what a policy would make of everybody, and write no code."""
    policy = Policy.model_validate(job.input["policy"])

    async def count(work: Work, people: Sequence[Any]) -> None:
        facts = await codes.facts_of(work, [one.resident_id for one in people])
        decided = [
            ((one.region, colour_at(one, work.now)), evaluate(facts.get(one.resident_id, ()), policy, work.now))
            for one in people
        ]
        job.result |= rules.tally(job.result, decided)

    await _for_everybody(job, count)


async def run_application(job: Run) -> None:
    """Evaluate everybody under the policy now in force."""

    async def apply(work: Work, people: Sequence[Any]) -> None:
        await codes.reevaluate(work, [one.resident_id for one in people])

    await _for_everybody(job, apply)


async def _for_everybody(job: Run, do: Callable[[Work, Sequence[Any]], Awaitable[None]]) -> None:
    """Chunks of people in the order of their ids, each a transaction, continuing after the last that committed."""
    while True:
        async with job.work() as work:
            people = await _people(work, job.result.get("after"))
            if not people:
                return
            await do(work, people)
            job.result["after"] = str(people[-1].resident_id)
            await job.progress(work, len(people))


async def _people(work: Work, after: str | None) -> Sequence[Any]:
    values = {"after": UUID(after) if after else codes.NOBODY, "limit": CHUNK}
    return (await work.session.execute(PEOPLE, values)).all()


def _say(row: PolicyRow) -> PolicyPublished:
    return PolicyPublished(
        version=row.version,
        published_at=row.published_at,
        proposal_id=row.proposal_id,
        policy=Policy.model_validate(row.document),
    )


POLICY = Kind("policy", Policy, Role.COMMAND, publish_policy, raises=[PolicyTaken], example=first())
