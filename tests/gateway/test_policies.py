"""G2: a policy is tried on everybody, proposed, approved by a second person, and then applied to everybody."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from services.gateway.codes.policy import Colour, first
from services.gateway.codes.rules import Decision
from services.gateway.policies.rules import tally
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.gateway.test_codes import publish, resident, tube
from tests.harness import District

POLICIES = "/gateway/v1/policies"


@pytest.fixture(autouse=True)
async def _unpublished(district: District) -> AsyncIterator[None]:
    yield
    await district.sql("DELETE FROM gateway.policies WHERE version > 1")


def person(district: District, name: str, role: Role = Role.COMMAND) -> httpx.AsyncClient:
    return district.caller("gateway", role, subject=name)


def harsher(version: int = 2) -> dict[str, Any]:
    """The first policy, but a pending pool turns people red."""
    document = first().model_dump(mode="json")
    rules = [rule | ({"colour": "red"} if rule["code"] == "pool_pending" else {}) for rule in document["rules"]]
    return document | {"version": version, "rules": rules}


async def tried(client: httpx.AsyncClient, district: District, policy: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"{POLICIES}/trials", json={"policy": policy})
    assert answer.status_code == 202, answer.text
    await district.settle()
    found: dict[str, Any] = (await client.get(answer.headers["location"])).json()
    return found


async def proposed(client: httpx.AsyncClient, district: District, policy: dict[str, Any]) -> dict[str, Any]:
    trial = await tried(client, district, policy)
    body = {"policy": policy, "trial_id": trial["id"], "reason": "第九版"}
    answer = await client.post(POLICIES, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def approve(client: httpx.AsyncClient, proposal: dict[str, Any]) -> httpx.Response:
    path = f"/gateway/v1/proposals/{proposal['id']}/approve"
    return await client.post(path, json={"content_hash": proposal["content_hash"], "reason": "同意"})


async def colours(district: District) -> dict[UUID, int]:
    return {row["resident_id"]: row["colour"] for row in await district.sql("SELECT * FROM gateway.codes")}


def test_a_trial_counts_colours_changes_and_reasons_and_can_go_on() -> None:
    green = Decision(Colour.GREEN, None, None, None, (), None)
    found = tally({}, [(("3505820050010101", Colour.YELLOW), green)])
    found = tally(
        found | {"after": "x"}, [(("3505820050010203", Colour.YELLOW), green), (("outside", Colour.GREEN), green)]
    )
    assert found == {
        "colours": {"green": 3},
        "changes": {"yellow>green": 2},
        "rules": {},
        "regions": {"350582005001": {"yellow>green": 2}},
    }


async def test_a_trial_tells_who_would_turn_what_and_changes_nothing(district: District) -> None:
    people = [new_id() for _ in range(10)]
    await publish(district, *map(resident, [*people, new_id(), new_id()]), tube(people, "positive"))
    before = await colours(district)
    async with person(district, "lin") as command:
        trial = await tried(command, district, harsher())
    assert (trial["state"], trial["done"]) == ("succeeded", 12)
    found = {name: trial["result"][name] for name in ("colours", "changes", "rules", "regions")}
    assert found == {
        "colours": {"red": 10, "green": 2},
        "changes": {"yellow>red": 10},
        "rules": {"pool_pending": 10},
        "regions": {"350582005001": {"yellow>red": 10}},
    }
    assert await colours(district) == before
    assert sorted(before.values()) == [1, 1, *[2] * 10]


async def test_two_people_publish_a_policy_and_everybody_is_evaluated_under_it(district: District) -> None:
    people = [new_id() for _ in range(10)]
    await publish(district, *map(resident, people), tube(people, "positive"))
    async with person(district, "lin") as proposer, person(district, "wang") as approver:
        proposal = await proposed(proposer, district, harsher())
        assert set((await colours(district)).values()) == {2}
        answer = await approve(proposer, proposal)
        assert (answer.status_code, answer.json()["code"]) == (403, "proposal_same_person")
        assert (await approve(approver, proposal)).status_code == 200
        await district.settle()
        assert set((await colours(district)).values()) == {3}
        code = (await approver.get(f"/gateway/v1/codes/{people[0]}")).json()
        assert (code["policy"], code["colour"], code["reasons"][0]["rule"]) == (2, "red", "pool_pending")
        published = (await approver.get(f"{POLICIES}/2")).json()
        assert (published["proposal_id"], published["policy"]) == (proposal["id"], harsher())
        assert [one["version"] for one in (await approver.get(POLICIES)).json()["items"]] == [1, 2]


async def test_a_policy_that_was_not_tried_is_not_proposed(district: District) -> None:
    async with person(district, "lin") as command:
        trial = await tried(command, district, harsher())
        other = harsher() | {"title": {"zh": "另一份", "en": "Another"}}
        for policy, trial_id in ((other, trial["id"]), (harsher(), str(new_id()))):
            answer = await command.post(POLICIES, json={"policy": policy, "trial_id": trial_id, "reason": "x"})
            assert (answer.status_code, answer.json()["code"]) == (409, "policy_not_tried")


@pytest.mark.parametrize("version", [1, 3])
async def test_versions_are_counted_one_by_one(district: District, version: int) -> None:
    async with person(district, "lin") as command:
        trial = await tried(command, district, harsher(version))
        body = {"policy": harsher(version), "trial_id": trial["id"], "reason": "x"}
        answer = await command.post(POLICIES, json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "policy_taken")


async def test_of_two_proposals_of_one_version_one_is_published(district: District) -> None:
    async with person(district, "lin") as proposer, person(district, "wang") as approver:
        one, other = [await proposed(proposer, district, harsher()) for _ in range(2)]
        assert (await approve(approver, one)).status_code == 200
        answer = await approve(approver, other)
    assert (answer.status_code, answer.json()["code"]) == (409, "policy_taken")


@pytest.mark.parametrize("role", [Role.GRID_WORKER, Role.SUPERVISOR, Role.COMMUNITY_OFFICER])
async def test_only_the_command_tries_and_proposes(district: District, role: Role) -> None:
    async with person(district, "lin", role) as other:
        assert (await other.post(f"{POLICIES}/trials", json={"policy": harsher()})).status_code == 403


async def test_a_resident_reads_the_rules(district: District) -> None:
    async with district.caller("gateway", Role.RESIDENT, residents=(new_id(),)) as somebody:
        assert (await somebody.get(f"{POLICIES}/1")).json()["policy"]["rules"][0]["source"]


async def test_the_database_itself_refuses_a_policy_that_nobody_approved(district: District) -> None:
    async with person(district, "lin") as proposer:
        proposal = await proposed(proposer, district, harsher())
    for proposal_id, error in (
        (UUID(proposal["id"]), asyncpg.ForeignKeyViolationError),
        (None, asyncpg.CheckViolationError),
    ):
        statement = "INSERT INTO gateway.policies (version, document, proposal_id) VALUES (2, '{}', $1)"
        with pytest.raises(error):
            await district.sql(statement, proposal_id)
