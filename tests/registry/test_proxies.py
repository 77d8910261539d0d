"""R2: who may act for a child or an elder, how many, and how it ends."""

import asyncio

import pytest

from services.registry.residents.transfers import settle_requests
from shared.core.actors import Role
from tests.gateway.signing_in import app, bearer, outside, refreshed, until_refused
from tests.gateway.test_residents_sign_in import bind, by_phone
from tests.harness import District
from tests.registry.people import ELSEWHERE, HOUKU, SHATANG, person, register, table, take_in


async def people(district: District, count: int) -> list[str]:
    keeper = district.caller("registry", Role.COMMAND)
    return [await register(district, keeper, place=place) for place in range(1, count + 1)]


async def give(district: District, guardian: str, dependant: str, scope: str | None = None) -> tuple[int, str]:
    keeper = district.caller("registry", Role.GRID_WORKER, scope=scope)
    new = {"guardian_id": guardian, "dependant_id": dependant, "evidence": "户口簿"}
    answer = await keeper.post("/registry/v1/proxies", json=new)
    return answer.status_code, answer.json().get("code", answer.json().get("id"))


async def test_a_guardians_token_acts_for_the_dependant_until_either_ends_it(district: District) -> None:
    await app(district)
    guardian, child = await people(district, 2)
    async with outside(district) as client:
        tokens = await by_phone(district, client)
        assert (await bind(client, tokens)).json()["resident_id"] == guardian
        status, proxy = await give(district, guardian, child)
        assert status == 201
        await district.settle()
        after = (await refreshed(client, tokens["refresh_token"])).json()
        who = (await client.get("/oauth/userinfo", headers=bearer(after["access_token"]))).json()
        assert who["residents"] == [guardian, child]
        code = await client.get(
            "/gateway/v1/code", params={"resident_id": child}, headers=bearer(after["access_token"])
        )
        assert code.status_code == 200
        ended = await client.post(f"/registry/v1/proxies/{proxy}/end", headers=bearer(after["access_token"]))
        assert ended.json()["state"] == "ended"
        await district.settle()
        await until_refused(client, after["access_token"], "/oauth/userinfo")
        last = (await refreshed(client, after["refresh_token"])).json()
        who = (await client.get("/oauth/userinfo", headers=bearer(last["access_token"]))).json()
        assert who["residents"] == [guardian]


async def test_of_many_at_once_no_more_than_eight_dependants(district: District) -> None:
    guardian, *others = await people(district, 11)
    answers = await asyncio.gather(*(give(district, guardian, other) for other in others))
    assert sorted(status for status, _ in answers) == [201] * 8 + [409] * 2
    assert {code for status, code in answers if status == 409} == {"proxy_limit"}


async def test_of_many_at_once_no_more_than_three_guardians(district: District) -> None:
    dependant, *others = await people(district, 6)
    answers = await asyncio.gather(*(give(district, other, dependant) for other in others))
    assert sorted(status for status, _ in answers) == [201] * 3 + [409] * 2


async def test_the_same_twice_nobody_and_elsewhere(district: District) -> None:
    guardian, child, stranger = await people(district, 3)
    _, proxy = await give(district, guardian, child)
    assert await give(district, guardian, child) == (409, "proxy_exists")
    assert await give(district, guardian, guardian) == (422, "proxy_self")
    assert await give(district, guardian, stranger, scope="350582004") == (404, "not_found")
    from uuid import UUID

    for residents, status in (((UUID(stranger),), 404), ((UUID(child),), 200), ((UUID(guardian),), 200)):
        caller = district.caller("registry", Role.RESIDENT, residents=residents)
        assert (await caller.get(f"/registry/v1/proxies/{proxy}")).status_code == status
        assert (await caller.post(f"/registry/v1/proxies/{proxy}/end")).status_code == status
    assert (await give(district, guardian, child))[0] == 201


@pytest.mark.parametrize("role", [Role.DOORKEEPER, Role.LABORATORY, Role.AUDITOR], ids=lambda role: role.label)
async def test_others_know_nothing_of_it(district: District, role: Role) -> None:
    assert (await district.caller("registry", role).get("/registry/v1/proxies")).status_code == 403


async def test_the_same_key_answers_as_before(district: District) -> None:
    guardian, child = await people(district, 2)
    keeper = district.caller("registry", Role.GRID_WORKER)
    new = {"guardian_id": guardian, "dependant_id": child, "evidence": "户口簿"}
    headers = {"idempotency-key": "given-only-once"}
    answers = [await keeper.post("/registry/v1/proxies", json=new, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


async def proxies_of(district: District) -> list[tuple[str, str, int]]:
    rows = await district.sql("SELECT state, region, version FROM registry.proxies ORDER BY seq")
    return [(row["state"], row["region"], row["version"]) for row in rows]


async def published(district: District) -> list[tuple[str, bool]]:
    rows = await district.sql(
        "SELECT change, urgent FROM registry.feed WHERE type = 'registry.proxy.v1' AND change <> 'given' ORDER BY seq"
    )
    return [(row["change"], row["urgent"]) for row in rows]


@pytest.mark.parametrize("closed", [0, 1], ids=["guardian", "dependant"])
@pytest.mark.parametrize("reason", ["died", "moved_away"])
async def test_it_ends_when_the_record_of_either_is_closed(district: District, closed: int, reason: str) -> None:
    both = guardian, child = await people(district, 2)
    assert (await give(district, guardian, child))[0] == 201
    await district.settle()
    assert len(await district.sql("SELECT 1 FROM gateway.guardianships")) == 1
    keeper = district.caller("registry", Role.GRID_WORKER)
    answer = await keeper.post(f"/registry/v1/residents/{both[closed]}/close", json={"reason": reason})
    assert answer.status_code == 200, answer.text
    assert await proxies_of(district) == [("ended", SHATANG, 2)]
    (ended,) = await district.sql("SELECT ended_by, ended_at FROM registry.proxies")
    assert (ended["ended_by"], ended["ended_at"] is None) == ("test:grid_worker", False)
    await district.settle()
    assert await district.sql("SELECT 1 FROM gateway.guardianships") == []
    assert (await give(district, guardian, child)) == (404, "not_found")


async def test_it_ends_also_where_the_other_lives_beyond_the_range_of_who_closes(district: District) -> None:
    guardian, child = await people(district, 2)
    assert (await give(district, guardian, child))[0] == 201
    await move(district, child, HOUKU)
    keeper = district.caller("registry", Role.GRID_WORKER, scope=SHATANG)
    answer = await keeper.post(f"/registry/v1/residents/{guardian}/close", json={"reason": "died"})
    assert answer.status_code == 200, answer.text
    assert await proxies_of(district) == [("ended", HOUKU, 3)]
    assert (await keeper.get(f"/registry/v1/residents/{child}")).status_code == 404


async def move(district: District, resident: str, region: str) -> None:
    keeper = district.caller("registry", Role.GRID_WORKER)
    answer = await keeper.post(f"/registry/v1/residents/{resident}/move", json={"region": region})
    assert answer.json()["outcome"] == "moved", answer.text


async def test_it_is_where_the_dependant_lives_and_not_where_the_guardian_does(district: District) -> None:
    guardian, child = await people(district, 2)
    assert (await give(district, guardian, child))[0] == 201
    await move(district, guardian, HOUKU)
    assert await proxies_of(district) == [("active", SHATANG, 1)]
    await move(district, child, HOUKU)
    assert await proxies_of(district) == [("active", HOUKU, 2)]
    assert [change for change, _ in await published(district)] == ["moved"]


async def test_it_follows_a_dependant_whom_a_file_has_elsewhere(district: District) -> None:
    guardian, child = await people(district, 2)
    assert (await give(district, guardian, child))[0] == 201
    keeper = district.caller("registry", Role.COMMAND)
    job = await take_in(district, keeper, table([person(2, region=HOUKU)]), overwrite_newer="true")
    assert job["result"]["updated"] == 1
    assert await proxies_of(district) == [("active", HOUKU, 2)]


async def test_it_follows_a_dependant_whom_another_community_takes_over(district: District) -> None:
    guardian, child = await people(district, 2)
    assert (await give(district, guardian, child))[0] == 201
    keeper = district.caller("registry", Role.GRID_WORKER)
    offered = await keeper.post(f"/registry/v1/residents/{child}/move", json={"region": ELSEWHERE})
    transfer = offered.json()["transfer_id"]
    neighbour = district.caller("registry", Role.COMMUNITY_OFFICER, scope=ELSEWHERE)
    answer = await neighbour.post(f"/registry/v1/transfers/{transfer}/accept")
    assert answer.status_code == 200, answer.text
    await settle_requests(district.contexts["registry"])
    assert await proxies_of(district) == [("active", ELSEWHERE, 2)]
