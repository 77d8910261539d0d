"""Who is named as a party exists: clients, hook sources and grants, and what other services are told of it."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy import administration
from deploy.trouble import Trouble
from shared.contracts import parties
from shared.contracts.gateway import Party
from shared.core.actors import Role
from tests.gateway.signing_in import person
from tests.gateway.test_grants import give
from tests.gateway.test_verifications import COMMUNITY, point
from tests.harness import XINTANG, District

CLIENTS, SOURCES = "/gateway/v1/clients", "/gateway/v1/hook-sources"
KNOWN = "SELECT party, active FROM testing.laboratories ORDER BY party"


@pytest.fixture
def whole(district: District) -> httpx.AsyncClient:
    return district.caller("gateway", Role.COMMAND, scope="")


def client(role: str, party: str, **changed: Any) -> dict[str, Any]:
    new = {"client_id": f"client-{uuid4().hex[:8]}", "kind": "machine", "name": "x", "region": XINTANG}
    return {**new, "role": role, "party": party, **changed}


async def add_by_shell(district: District, new: dict[str, Any]) -> str | None:
    """What `fangxian clients add` does."""
    return await asyncio.to_thread(lambda: administration.add_client(district.database.owner_url, **new))


WRONG = [
    ("laboratory", "lab 1"),
    ("laboratory", "LAB-1"),
    ("laboratory", "hospital-one"),
    ("hospital", "one"),
    ("desk_120", "120"),
    ("municipal", "不是编号"),
    ("doorkeeper", "111"),
    ("checkpoint", "不是编号"),
]


@pytest.mark.parametrize(("role", "party"), WRONG)
async def test_a_party_is_written_alike_wherever_it_is_named(whole: httpx.AsyncClient, role: str, party: str) -> None:
    answer = await whole.post(CLIENTS, json=client(role, party))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "party_malformed")
    with pytest.raises(Trouble, match=rf"party of a {role} must "):
        administration.add_client("postgresql://nobody", **client(role, party))
    if role in ("hospital", "desk_120", "municipal"):
        source = {"source": role, "party": party, "region": XINTANG}
        answer = await whole.post(SOURCES, json=source)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "party_malformed")


def test_no_name_is_two_parties() -> None:
    for role, example in parties.EXAMPLES.items():
        assert parties.fault_of(Role.named(role), example) is None
    for role in parties.OWN_BEGINNING:
        assert parties.named_by(parties.EXAMPLES[role]) == role


async def test_a_door_is_a_point_that_is_open_and_within_the_region(
    district: District, whole: httpx.AsyncClient
) -> None:
    window = await point(district)
    closed = await point(district)
    assert (await whole.post(f"/gateway/v1/service-points/{closed['id']}/close")).status_code == 200
    someone = await person(district)
    wrong = [(str(uuid4()), XINTANG), (closed["id"], XINTANG), (window["id"], "350582005002"), ("不是编号", XINTANG)]
    for party, region in wrong:
        given = await give(district, someone, role="doorkeeper", party=party, region=region)
        assert (given.status_code, given.json()["code"]) == (422, "party_no_point"), party
        made = await whole.post(CLIENTS, json=client("doorkeeper", party, region=region))
        assert made.json()["code"] in ("party_no_point", "invalid_input")
        assert made.status_code == 422
        with pytest.raises(Trouble, match="service point"):
            await add_by_shell(district, client("doorkeeper", party, region=region))
    assert (await give(district, someone, role="doorkeeper", party=window["id"])).status_code == 201
    assert (await whole.post(CLIENTS, json=client("doorkeeper", window["id"], region=COMMUNITY))).status_code == 201
    added = client("checkpoint", window["id"], region="")
    assert await add_by_shell(district, added)


async def test_nobody_gives_a_door_outside_their_own_region(district: District) -> None:
    window = await point(district)
    elsewhere = district.caller("gateway", Role.COMMAND, scope="350582004")
    answer = await elsewhere.post(CLIENTS, json=client("doorkeeper", window["id"], region="350582004"))
    assert (answer.status_code, answer.json()["code"]) == (422, "party_no_point")


async def test_a_grant_for_a_laboratory_needs_one_that_is_registered(
    district: District, whole: httpx.AsyncClient
) -> None:
    someone = await person(district)
    await whole.post(CLIENTS, json=client("laboratory", "lab-jinjiang"))
    refused = await give(district, someone, party="lab-nonexistent")
    assert (refused.status_code, refused.json()["code"]) == (422, "party_unknown")
    assert "lab-jinjiang" in refused.json()["errors"][0]["detail"]
    assert (await give(district, someone, party="lab-jinjiang")).status_code == 201
    assert (await give(district, someone, party="晋江市医院")).status_code == 201


async def test_other_services_learn_of_parties_until_the_last_one_is_gone(
    district: District, whole: httpx.AsyncClient
) -> None:
    first = (await whole.post(CLIENTS, json=client("laboratory", "lab-one"))).json()
    second = (await whole.post(CLIENTS, json=client("laboratory", "lab-one"))).json()
    await whole.post(SOURCES, json={"source": "hospital", "party": "hospital-one", "region": XINTANG})
    other = client("laboratory", "lab-two", region="")
    assert await add_by_shell(district, other)
    await district.settle()
    assert [tuple(row) for row in await district.sql(KNOWN)] == [("lab-one", True), ("lab-two", True)]
    assert (await whole.post(f"{CLIENTS}/{first['id']}/revoke")).status_code == 200
    await asyncio.to_thread(administration.revoke_client, district.database.owner_url, other["client_id"])
    await district.settle()
    assert [tuple(row) for row in await district.sql(KNOWN)] == [("lab-one", True), ("lab-two", False)]
    assert (await whole.post(f"{CLIENTS}/{second['id']}/revoke")).status_code == 200
    await district.settle()
    assert [tuple(row) for row in await district.sql(KNOWN)] == [("lab-one", False), ("lab-two", False)]
    # What the database writes is what the class would, so that a rebuild brings the same.
    rows = await district.sql(
        "SELECT version, data FROM gateway.feed WHERE type = 'gateway.party.v1' AND data->>'party' = 'lab-one'"
        " ORDER BY version"
    )
    told = [Party.model_validate_json(row["data"]) for row in rows]
    assert [(one.version, one.state) for one in told] == [(1, "active"), (2, "ended")]
    assert {row["version"] for row in rows} == {1, 2}
    ((sources,),) = await district.sql("SELECT count(*) FROM gateway.parties WHERE role = 'hospital'")
    assert sources == 1


async def test_the_last_two_that_end_at_once_end_the_party(district: District, whole: httpx.AsyncClient) -> None:
    for number in range(5):
        name = f"lab-race-{number}"
        made = [(await whole.post(CLIENTS, json=client("laboratory", name))).json()["id"] for _ in range(2)]
        answers = await asyncio.gather(*(whole.post(f"{CLIENTS}/{one}/revoke") for one in made))
        assert [answer.status_code for answer in answers] == [200, 200]
        ((state,),) = await district.sql("SELECT state FROM gateway.parties WHERE party = $1", name)
        assert state == "ended"
