"""Grants: one acts in one at a time, nobody gives more than they have, and none outlives its end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from services.gateway.grants import rules
from shared.core import clock
from shared.core.actors import Role
from tests.gateway.signing_in import (
    ORGANISATION,
    REGIONS,
    Browser,
    Person,
    Pkce,
    app,
    bearer,
    outside,
    person,
    refreshed,
    tokens_of,
    until_refused,
)
from tests.harness import District

XINTANG = "350582005"


@pytest.fixture
async def client(district: District) -> AsyncIterator[httpx.AsyncClient]:
    await app(district)
    async with outside(district) as found:
        yield found


async def token_of(client: httpx.AsyncClient, someone: Person, **asked: str) -> dict[str, str]:
    pkce = Pkce()
    browser = await someone.sign_in(client, pkce, **asked)
    return await tokens_of(client, browser.answer["code"], pkce)


async def give(district: District, someone: Person, **changed: object) -> httpx.Response:
    given = {
        "account_id": someone.account_id,
        "role": "sampler",
        "region": XINTANG,
        "party": ORGANISATION,
        "why": "test",
        **changed,
    }
    return await district.caller("gateway", Role.COMMAND, scope="").post("/gateway/v1/grants", json=given)


async def test_one_acts_in_one_grant_chosen_at_sign_in_and_changed_by_refresh(
    district: District, client: httpx.AsyncClient
) -> None:
    someone = await person(district, role="grid_worker", region="350582005001")
    second = (await give(district, someone)).json()
    pkce = Pkce()
    browser = await someone.sign_in(client, pkce)
    assert "Choose your role" in browser.text
    for label in ("Grid worker · ", "Sampler · 新塘街道 · "):
        assert label in browser.text
    await browser.submit("continue", grant_id=str(uuid4()))
    assert "Choose your role" in browser.text
    await browser.submit("continue", grant_id=second["id"])
    tokens = await tokens_of(client, browser.answer["code"], pkce)
    assert await role_of(client, tokens) == "sampler"
    (first,) = [one for one in await grants(district, someone) if one["role"] == "grid_worker"]
    switched = (await refreshed(client, tokens["refresh_token"], grant_id=first["id"])).json()
    assert await role_of(client, switched) == "grid_worker"
    assert (await client.get(REGIONS, headers=bearer(switched["access_token"]))).status_code == 404
    kept = (await refreshed(client, switched["refresh_token"])).json()
    assert await role_of(client, kept) == "grid_worker"


async def grants(district: District, someone: Person) -> list[dict[str, str]]:
    command = district.caller("gateway", Role.COMMAND, scope="")
    found: list[dict[str, str]] = (
        await command.get("/gateway/v1/grants", params={"account_id": someone.account_id})
    ).json()["items"]
    return found


async def role_of(client: httpx.AsyncClient, tokens: dict[str, str]) -> str:
    return str((await client.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))).json()["role"])


async def test_a_grant_that_was_asked_for_is_the_one(district: District, client: httpx.AsyncClient) -> None:
    someone = await person(district)
    second = (await give(district, someone)).json()
    assert await role_of(client, await token_of(client, someone, grant_id=second["id"])) == "sampler"


async def test_of_another_persons_grant_nothing_is_given(district: District, client: httpx.AsyncClient) -> None:
    someone, other = await person(district), await person(district, login="wu.other", role="sampler")
    (theirs,) = await grants(district, other)
    browser = await someone.sign_in(client, Pkce(), grant_id=theirs["id"])
    assert (browser.page and browser.page.status_code, "no role that can be used" in browser.text) == (403, True)
    district.move_clock(minutes=2)
    tokens = await token_of(client, someone)
    answer = await refreshed(client, tokens["refresh_token"], grant_id=theirs["id"])
    assert answer.json()["error"] == "invalid_grant"


async def test_a_token_never_outlives_its_grant(district: District, client: httpx.AsyncClient) -> None:
    someone = await person(district, valid_until=(clock.now() + timedelta(seconds=300)).isoformat())
    tokens = await token_of(client, someone)
    assert int(tokens["expires_in"]) <= 300
    assert (await client.get(REGIONS, headers=bearer(tokens["access_token"]))).status_code == 200
    district.move_clock(seconds=301)
    assert (await client.get(REGIONS, headers=bearer(tokens["access_token"]))).status_code == 401
    answer = await refreshed(client, tokens["refresh_token"])
    assert answer.json()["error_description"] == "The grant has ended, or it cannot be used in this app"


async def test_a_grant_that_ends_stops_what_was_given_in_it(district: District, client: httpx.AsyncClient) -> None:
    someone = await person(district)
    await give(district, someone)
    (one, other) = await grants(district, someone)
    ended = await token_of(client, someone, grant_id=one["id"])
    district.move_clock(minutes=1)
    stays = await token_of(client, someone, grant_id=other["id"])
    command = district.caller("gateway", Role.COMMAND, scope=XINTANG)
    answers = await asyncio.gather(
        command.post(f"/gateway/v1/grants/{one['id']}/end", json={"why": "moved"}),
        *(client.get(REGIONS, headers=bearer(ended["access_token"])) for _ in range(10)),
    )
    # A request that had begun is answered; after that the token is nobody's.
    assert {answer.status_code for answer in answers} <= {200, 401}
    await until_refused(client, ended["access_token"])
    assert (await refreshed(client, ended["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.get(REGIONS, headers=bearer(stays["access_token"]))).status_code == 200
    again = await command.post(f"/gateway/v1/grants/{one['id']}/end", json={"why": "moved"})
    assert again.json()["code"] == "grant_decided"


async def test_nobody_gives_more_than_they_have(district: District) -> None:
    someone = await person(district)
    command = district.caller("gateway", Role.COMMAND, scope=XINTANG)
    given = {"account_id": someone.account_id, "role": "sampler", "party": ORGANISATION, "why": "test"}
    for region in ("", "350582", "350582004", "3505820"):
        answer = await command.post("/gateway/v1/grants", json={**given, "region": region})
        assert (answer.status_code, answer.json()["code"]) == (403, "region_outside"), region
    assert (await command.post("/gateway/v1/grants", json={**given, "region": "350582005001"})).status_code == 201
    elsewhere = district.caller("gateway", Role.COMMAND, scope="350582004")
    answer = await elsewhere.post("/gateway/v1/grants", json={**given, "region": "350582004"})
    assert answer.json()["code"] == "not_found"
    for role in Role.STAFF & ~Role.COMMAND:
        caller = district.caller("gateway", role, scope="")
        assert (await caller.post("/gateway/v1/grants", json={**given, "region": XINTANG})).status_code == 403


async def test_a_grant_out_of_range_cannot_be_seen_decided_or_ended(district: District) -> None:
    someone = await person(district)
    (one,) = await grants(district, someone)
    elsewhere = district.caller("gateway", Role.COMMAND, scope="350582004")
    path = f"/gateway/v1/grants/{one['id']}"
    assert (await elsewhere.get("/gateway/v1/grants")).json()["items"] == []
    for answer in (
        await elsewhere.get(path),
        await elsewhere.post(f"{path}/approve"),
        await elsewhere.post(f"{path}/end", json={"why": "x"}),
    ):
        assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"role": "service"}, "role_unknown"),
        ({"role": "resident"}, "role_unknown"),
        ({"role": "laboratory"}, "role_unknown"),
        ({"party": ""}, "string_too_short"),
        ({"valid_from": "2026-02-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"}, "ends_before_start"),
        ({"valid_until": "2000-01-01T00:00:00Z"}, "ends_before_start"),
    ],
    ids=str,
)
async def test_a_grant_that_makes_no_sense(district: District, changed: dict[str, str], code: str) -> None:
    given = {
        "account_id": str(uuid4()),
        "role": "sampler",
        "region": "",
        "party": ORGANISATION,
        "why": "test",
        **changed,
    }
    answer = await district.caller("gateway", Role.COMMAND, scope="").post("/gateway/v1/grants", json=given)
    assert [error["code"] for error in answer.json()["errors"]] == [code]


async def test_two_who_give_the_same_at_once_give_it_once(district: District) -> None:
    someone = await person(district)
    answers = await asyncio.gather(*(give(district, someone) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"grant_exists"}


# Two people ---------------------------------------------------------------------------------------------------------


async def test_command_is_given_by_two(district: District, client: httpx.AsyncClient) -> None:
    first = await person(district, login="first", role="command", region="")
    (grant,) = await grants(district, first)
    assert grant["state"] == "active"  # nobody else commanded who could have approved
    second = await person(district, login="second", role="command", region="")
    (proposed,) = await grants(district, second)
    assert proposed["state"] == "proposed"
    browser = await second.sign_in(client, Pkce())
    assert "no role that can be used" in browser.text

    path = f"/gateway/v1/grants/{proposed['id']}/approve"
    by = {
        "who proposed": district.caller("gateway", Role.COMMAND, scope=""),
        "who receives": district.caller("gateway", Role.COMMAND, scope="", subject=f"account:{second.account_id}"),
    }
    for who, caller in by.items():
        assert (await caller.post(path)).json()["code"] == "second_person_needed", who
    approver = district.caller("gateway", Role.COMMAND, scope="", subject=f"account:{first.account_id}")
    racing = await asyncio.gather(*(approver.post(path) for _ in range(6)))
    assert sorted(answer.status_code for answer in racing) == [200] + [409] * 5
    district.move_clock(minutes=2)
    assert await role_of(client, await token_of(client, second)) == "command"


async def test_a_refused_grant_comes_to_nothing(district: District) -> None:
    await person(district, login="first", role="command", region="")
    second = await person(district, login="second", role="command", region="")
    (proposed,) = await grants(district, second)
    other = district.caller("gateway", Role.COMMAND, scope="", subject="account:other")
    refused = await other.post(f"/gateway/v1/grants/{proposed['id']}/refuse", json={"why": "not needed"})
    assert refused.json()["state"] == "refused"
    assert (await other.post(f"/gateway/v1/grants/{proposed['id']}/approve")).json()["code"] == "grant_decided"


async def test_nobody_gives_a_role_to_themselves(district: District) -> None:
    first = await person(district, login="first", role="command", region="")
    own = district.caller("gateway", Role.COMMAND, scope="", subject=f"account:{first.account_id}")
    given = {"account_id": first.account_id, "role": "sampler", "region": "", "party": ORGANISATION, "why": "test"}
    assert (await own.post("/gateway/v1/grants", json=given)).json()["code"] == "grant_own"
    closed = await own.patch(f"/gateway/v1/accounts/{first.account_id}", json={"state": "closed"})
    assert closed.json()["code"] == "own_account"


@pytest.mark.parametrize("role", list(rules.GIVEN), ids=lambda role: role.label)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "not alone"])
def test_only_command_needs_two(role: Role, alone: bool) -> None:
    needs_two = role is Role.COMMAND and not alone
    assert rules.first_state(role, alone) == ("proposed" if needs_two else "active")


async def test_a_page_after_the_grants_end_gives_nothing(district: District, client: httpx.AsyncClient) -> None:
    """The grant ends while its owner looks at the choice."""
    someone = await person(district)
    second = (await give(district, someone)).json()
    browser: Browser = await someone.sign_in(client, Pkce())
    command = district.caller("gateway", Role.COMMAND, scope="")
    await command.post(f"/gateway/v1/grants/{second['id']}/end", json={"why": "moved"})
    (first,) = [one for one in await grants(district, someone) if one["state"] == "active"]
    await command.post(f"/gateway/v1/grants/{first['id']}/end", json={"why": "moved"})
    await browser.submit("continue", grant_id=second["id"])
    assert "no role that can be used" in browser.text


async def test_nobody_becomes_alone_by_ending_the_others(district: District) -> None:
    first = await person(district, login="first", role="command", region="")
    second = await person(district, login="second", role="command", region="")
    own = district.caller("gateway", Role.COMMAND, scope="", subject=f"account:{first.account_id}")
    other = district.caller("gateway", Role.COMMAND, scope="", subject="account:other")
    (proposed,) = await grants(district, second)
    assert (await other.post(f"/gateway/v1/grants/{proposed['id']}/approve")).json()["state"] == "active"
    assert (await own.post(f"/gateway/v1/grants/{proposed['id']}/end", json={"why": "x"})).status_code == 200
    third = await person(district, login="third", role="sampler")
    new = {"account_id": third.account_id, "role": "command", "region": "", "party": ORGANISATION, "why": "test"}
    assert (await own.post("/gateway/v1/grants", json=new)).json()["state"] == "proposed"


async def test_who_resets_an_account_does_not_get_what_it_may(district: District, client: httpx.AsyncClient) -> None:
    await person(district, login="first", role="command", region="")
    someone = await person(district, login="second", role="sampler", region=XINTANG)
    (own,) = await grants(district, someone)
    wide = (await give(district, someone, region="350582", role="grid_worker")).json()
    reset = f"/gateway/v1/accounts/{someone.account_id}/reset"
    narrow = district.caller("gateway", Role.COMMAND, scope=XINTANG)
    answer = await narrow.post(reset)
    assert (answer.status_code, answer.json()["code"]) == (403, "region_outside")
    command = district.caller("gateway", Role.COMMAND, scope="")
    proposed = (await give(district, someone, region="", role="command")).json()
    assert proposed["state"] == "proposed"
    token = await token_of(client, someone, grant_id=own["id"])
    assert (await command.post(reset)).status_code == 200
    states = {one["id"]: one["state"] for one in await grants(district, someone)}
    assert states == {own["id"]: "active", wide["id"]: "active", proposed["id"]: "ended"}
    assert (await refreshed(client, token["refresh_token"])).json()["error"] == "invalid_grant"
    for table in ("interactions", "authorization_codes", "recovery_codes"):
        assert (
            await district.sql(f"SELECT 1 FROM gateway.{table} WHERE account_id = $1", UUID(someone.account_id)) == []
        )


async def test_an_app_of_one_place_opens_no_other(district: District, client: httpx.AsyncClient) -> None:
    await app(district, client_id="small-app", region="350582005001")
    someone = await person(district, region=XINTANG)
    browser = await someone.sign_in(client, Pkce(), client_id="small-app")
    assert "no role that can be used" in browser.text
