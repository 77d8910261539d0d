"""The two-person rule, through the first thing that needs it: a new observation protocol."""

import asyncio
import json
from importlib.resources import files
from typing import Any, get_args

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from shared.core.actors import Role
from shared.governance.proposals import rules
from shared.governance.proposals.rules import MOVES, Move, State
from shared.governance.proposals.use_cases import expire_proposals
from tests.harness import District

FIRST: dict[str, Any] = json.loads((files("services.observation.protocols") / "protocol_1.json").read_text("utf-8"))
PROTOCOLS = "/observation/v1/protocols"
PROPOSALS = "/observation/v1/proposals"


def second(number: int = 2) -> dict[str, Any]:
    days = {**FIRST["days"], "central": {"value": 7, "source": "national protocol, 9th edition, June 2022"}}
    tests = {**FIRST["test_days"], "central": {"value": [1, 2, 3, 5, 7], "source": "9th edition"}}
    return {**FIRST, "number": number, "valid_from": "2022-06-28", "days": days, "test_days": tests}


def person(district: District, name: str, role: Role = Role.COMMAND, scope: str = "350582005") -> httpx.AsyncClient:
    return district.caller("observation", role, subject=name, scope=scope)


async def proposed(district: District, by: str = "lin", number: int = 2) -> dict[str, Any]:
    async with person(district, by) as proposer:
        answer = await proposer.post(PROTOCOLS, json={"protocol": second(number), "reason": "第九版"})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PROPOSALS}/{found['id']}"
    return found


async def decide(client: httpx.AsyncClient, proposal: dict[str, Any], what: str, **body: Any) -> httpx.Response:
    given = {"content_hash": proposal["content_hash"], "reason": "同意"} | body
    return await client.post(f"{PROPOSALS}/{proposal['id']}/{what}", json=given)


async def numbers(district: District) -> list[int]:
    return [row["number"] for row in await district.sql("SELECT number FROM observation.protocols ORDER BY number")]


@pytest.fixture(autouse=True)
async def _unpublished(district: District) -> Any:
    yield
    await district.sql("DELETE FROM observation.protocols WHERE number > 1")


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize("move", get_args(Move))
def test_a_proposal_is_decided_once(state: State, move: Move) -> None:
    assert ((state, move) in MOVES) == (state == "proposed")


def test_the_hash_is_of_the_content_whatever_its_order() -> None:
    assert rules.hash_of({"a": 1, "b": ["方案"]}) == rules.hash_of({"b": ["方案"], "a": 1})
    assert rules.hash_of({"a": 1}) != rules.hash_of({"a": 2})


async def test_two_people_publish_a_protocol(district: District) -> None:
    proposal = await proposed(district)
    assert (proposal["state"], proposal["proposed_by"], proposal["content"]["number"]) == ("proposed", "lin", 2)
    assert await numbers(district) == [1]
    async with person(district, "wang") as approver:
        answer = await decide(approver, proposal, "approve")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["decided_by"], answer.json()["decision"]) == (
            "approved",
            "wang",
            "同意",
        )
        published = await approver.get(f"{PROTOCOLS}/2")
    assert published.json()["days"]["central"]["value"] == 7
    assert await numbers(district) == [1, 2]


@pytest.mark.parametrize("what", ["approve", "refuse"])
@pytest.mark.parametrize("scope", ["350582005", "3505", ""])
async def test_nobody_decides_their_own_proposal_in_whatever_scope(district: District, what: str, scope: str) -> None:
    proposal = await proposed(district, by="lin")
    async with person(district, "lin", scope=scope) as same:
        answer = await decide(same, proposal, what)
    assert (answer.status_code, answer.json()["code"]) == (403, "proposal_same_person")
    assert await numbers(district) == [1]


async def test_the_database_itself_refuses_the_same_person(district: District) -> None:
    proposal = await proposed(district, by="lin")
    with pytest.raises(asyncpg.CheckViolationError, match="proposal_same_person"):
        await district.sql(
            "UPDATE observation.proposals SET state = 'approved', decided_by = 'lin', decided_at = now() WHERE id = $1",
            proposal["id"],
        )


async def test_the_database_itself_refuses_a_protocol_that_nobody_approved(district: District) -> None:
    proposal = await proposed(district)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await district.sql(
            "INSERT INTO observation.protocols (id, region, number, document, proposal_id)"
            " VALUES (gen_random_uuid(), '350582005', 2, '{}', $1)",
            proposal["id"],
        )


@pytest.mark.parametrize("role", [Role.GRID_WORKER, Role.COMMUNITY_OFFICER, Role.SUPERVISOR])
async def test_only_the_command_decides(district: District, role: Role) -> None:
    proposal = await proposed(district)
    async with person(district, "wang", role) as other:
        assert (await decide(other, proposal, "approve")).status_code == 403


async def test_a_proposal_out_of_scope_is_not_there(district: District) -> None:
    proposal = await proposed(district)
    async with person(district, "wang", scope="350583") as elsewhere:
        assert (await decide(elsewhere, proposal, "approve")).status_code == 404
        assert (await elsewhere.get(f"{PROPOSALS}/{proposal['id']}")).status_code == 404
        assert (await elsewhere.get(PROPOSALS)).json()["items"] == []


@pytest.mark.parametrize("scope", ["350582005001", "3505820050010101", "350583"])
async def test_who_commands_a_part_proposes_nothing_for_the_whole(district: District, scope: str) -> None:
    async with person(district, "lin", scope=scope) as proposer:
        answer = await proposer.post(PROTOCOLS, json={"protocol": second(), "reason": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_approving_something_else_than_what_is_proposed_has_no_effect(district: District) -> None:
    proposal = await proposed(district)
    async with person(district, "wang") as approver:
        answer = await decide(approver, proposal, "approve", content_hash="0" * 64)
        assert (answer.status_code, answer.json()["code"]) == (409, "proposal_content_differs")
        # Somebody with power over the database changes what was proposed: the approval does not cover it.
        await district.sql(
            "UPDATE observation.proposals SET content = jsonb_set(content, '{days,central,value}', '60') WHERE id = $1",
            proposal["id"],
        )
        answer = await decide(approver, proposal, "approve")
        assert (answer.status_code, answer.json()["code"]) == (409, "proposal_content_differs")
    assert await numbers(district) == [1]


async def test_a_refused_or_withdrawn_proposal_is_never_approved(district: District) -> None:
    refused, withdrawn = await proposed(district, number=2), await proposed(district, number=3)
    async with person(district, "wang") as other, person(district, "lin") as proposer:
        assert (await decide(other, refused, "refuse")).json()["state"] == "refused"
        path = f"{PROPOSALS}/{withdrawn['id']}/withdraw"
        assert (await other.post(path, json={"reason": "x"})).status_code == 403
        assert (await proposer.post(path, json={"reason": "文字有误"})).json()["state"] == "withdrawn"
        for proposal in (refused, withdrawn):
            answer = await decide(other, proposal, "approve")
            assert (answer.status_code, answer.json()["code"]) == (409, "proposal_decided")
        assert (await other.get(PROPOSALS, params={"open": "true"})).json()["items"] == []
        assert len((await other.get(PROPOSALS)).json()["items"]) == 2
    assert await numbers(district) == [1]


async def test_a_proposal_expires_by_the_clock_of_whoever_reads(district: District) -> None:
    proposal = await proposed(district)
    district.move_clock(days=7, seconds=1)
    async with person(district, "wang") as approver:
        assert (await approver.get(f"{PROPOSALS}/{proposal['id']}")).json()["state"] == "expired"
        answer = await decide(approver, proposal, "approve")
    assert (answer.status_code, answer.json()["code"]) == (409, "proposal_expired")
    assert await numbers(district) == [1]


async def test_what_expired_is_written_down(district: District) -> None:
    await proposed(district)
    district.move_clock(days=7, seconds=1)
    await expire_proposals(district.contexts["observation"])
    (row,) = await district.sql("SELECT state, decided_by FROM observation.proposals")
    assert (row["state"], row["decided_by"]) == ("expired", None)


@pytest.mark.parametrize("statement", ["UPDATE proposals SET content = '{}'", "DELETE FROM proposals"])
async def test_nothing_at_run_time_changes_or_removes_what_was_proposed(district: District, statement: str) -> None:
    await proposed(district)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with district.contexts["observation"].system_unit_of_work("test") as uow:
            await uow.run(text(statement))


async def test_of_ten_who_approve_at_once_one_has_the_effect(district: District) -> None:
    proposal = await proposed(district)
    approvers = [person(district, f"wang-{n}") for n in range(10)]
    answers = await asyncio.gather(*(decide(approver, proposal, "approve") for approver in approvers))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    assert await numbers(district) == [1, 2]


async def test_approving_and_withdrawing_at_once_ends_in_one_of_them(district: District) -> None:
    for number in range(2, 8):
        proposal = await proposed(district, number=number)
        async with person(district, "wang") as approver, person(district, "lin") as proposer:
            approved, withdrawn = await asyncio.gather(
                decide(approver, proposal, "approve"),
                proposer.post(f"{PROPOSALS}/{proposal['id']}/withdraw", json={"reason": "x"}),
            )
        assert {approved.status_code, withdrawn.status_code} == {200, 409}
        assert (number in await numbers(district)) == (approved.status_code == 200)


async def test_two_proposals_of_one_number_are_published_once_and_the_other_stays_open(district: District) -> None:
    one, other = await proposed(district), await proposed(district)
    async with person(district, "wang") as approver:
        assert (await decide(approver, one, "approve")).status_code == 200
        answer = await decide(approver, other, "approve")
        assert (answer.status_code, answer.json()["code"]) == (409, "protocol_taken")
        assert (await approver.get(f"{PROPOSALS}/{other['id']}")).json()["state"] == "proposed"
    assert await numbers(district) == [1, 2]


async def test_the_reasons_are_sealed(district: District) -> None:
    await proposed(district)
    (row,) = await district.sql("SELECT proposals::text AS row FROM observation.proposals")
    assert "第九版" not in row["row"]
    assert "第九版".encode().hex() not in row["row"]
