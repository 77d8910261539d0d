"""R1: the region tree."""

import pytest

from shared.core.actors import Role
from tests.harness import District


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


async def test_a_patch_is_added_under_its_community_once(district: District, command) -> None:
    made = await command.post("/registry/v1/regions", json={"code": "35058200500101", "name": "第一片"})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/registry/v1/regions/35058200500101"
    assert (await command.get(made.headers["location"])).json() == made.json()

    again = await command.post("/registry/v1/regions", json={"code": "35058200500101", "name": "别的"})
    assert again.status_code == 409
    assert again.json()["code"] == "region_taken"


async def test_the_same_key_answers_as_before(command) -> None:
    new = {"code": "35058200500102", "name": "第二片"}
    key = {"idempotency-key": "patch-two-once"}
    first = await command.post("/registry/v1/regions", json=new, headers=key)
    second = await command.post("/registry/v1/regions", json=new, headers=key)
    assert (first.status_code, first.content, first.headers["location"]) == (
        second.status_code,
        second.content,
        second.headers["location"],
    )
    assert second.headers["idempotency-replayed"] == "true"
    other = await command.post("/registry/v1/regions", json={**new, "name": "三"}, headers=key)
    assert other.json()["code"] == "key_reused"


async def test_a_grid_needs_its_patch(command) -> None:
    answer = await command.post("/registry/v1/regions", json={"code": "3505820050010199", "name": "网格"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "region_unknown"


async def test_staff_see_and_change_what_lies_under_their_scope(district: District) -> None:
    elsewhere = district.caller("registry", Role.COMMAND, scope="350582004")
    answer = await elsewhere.post("/registry/v1/regions", json={"code": "35058200500109", "name": "越界"})
    assert answer.json()["code"] == "region_unknown"
    assert (await elsewhere.get("/registry/v1/regions/350582005")).status_code == 404


async def test_xintang_has_thirteen_communities_and_a_farm_quarter(command) -> None:
    items, cursor = [], None
    while True:
        params = {"parent": "350582005", "limit": 5} | ({"cursor": cursor} if cursor else {})
        page = (await command.get("/registry/v1/regions", params=params)).json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len({item["region"] for item in items}) == len(items) == 14


async def test_command_adds_a_community_and_a_township_and_an_officer_does_not(district: District, command) -> None:
    new = {"code": "350582005099", "name": "新社区"}
    officer = district.caller("registry", Role.COMMUNITY_OFFICER)
    assert (await officer.post("/registry/v1/regions", json=new)).json()["code"] == "forbidden"
    made = await command.post("/registry/v1/regions", json=new)
    assert (made.status_code, made.json()["level"]) == (201, "community")
    township = {"code": "350582099", "name": "新街道"}
    assert (await command.post("/registry/v1/regions", json=township)).json()["code"] == "region_unknown"
    county = district.caller("registry", Role.COMMAND, scope="350582")
    assert (await county.post("/registry/v1/regions", json=township)).json()["level"] == "township"
    community = {"code": "350582099001", "name": "第一社区"}
    assert (await county.post("/registry/v1/regions", json=community)).status_code == 201


@pytest.mark.parametrize("code", ["350583", "3505820990011", "35058209900101012"])
async def test_what_is_no_township_community_patch_or_grid_is_refused(command, code: str) -> None:
    answer = await command.post("/registry/v1/regions", json={"code": code, "name": "某地"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
