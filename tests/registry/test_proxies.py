"""R2: who may act for a child or an elder, how many, and how it ends."""

import asyncio

import pytest

from shared.actors import Role
from tests.gateway.signing_in import app, bearer, outside, refreshed, until_refused
from tests.gateway.test_residents_sign_in import bind, by_phone
from tests.harness import District
from tests.registry.people import register


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
        assert (await bind(client, tokens)).json() == {"resident_id": guardian}
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
