"""G1: staff sign in at the pages; what a client is given, for how long, and what ends it."""

import asyncio

import pytest

from shared.core.actors import Role
from tests.gateway.signing_in import (
    ORGANISATION,
    PASSWORD,
    REDIRECT,
    REGIONS,
    Browser,
    Pkce,
    app,
    bearer,
    first_link,
    outside,
    person,
    refreshed,
    set_password,
    signed_in,
    tokens_of,
    until_refused,
)
from tests.harness import District


async def test_staff_sign_in_with_password_and_authenticator(district: District) -> None:
    await app(district)
    someone = await person(district)
    async with outside(district) as client:
        pkce = Pkce()
        browser = await someone.sign_in(client, pkce)
        assert len(set(someone.recovery_codes)) == 10
        assert browser.answer["state"] == pkce.state
        assert browser.answer["iss"] == district.contexts["gateway"].settings.issuer_url
        tokens = await tokens_of(client, browser.answer["code"], pkce)
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] <= 600
        assert tokens["scope"] == "openid"
        shown = await client.get(REGIONS, headers=bearer(tokens["access_token"]))
        assert shown.status_code == 200
        who = await client.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))
        said = {"sub": someone.account_id, "role": "grid_worker", "party": ORGANISATION, "residents": []}
        assert who.json() == said

        district.move_clock(seconds=60)
        again = await someone.sign_in(client, Pkce())
        assert "code" in again.answer


async def test_the_first_administrator_comes_by_a_link_that_is_good_once(district: District) -> None:
    await app(district)
    link = await first_link(district)
    other = await first_link(district)
    done = await set_password(district, link, PASSWORD, login="Chen.Admin", name="陈", party="新塘街道指挥部")
    assert "Your user name: chen.admin" in done.text
    assert "You can sign in now. Open your app:" in done.text
    assert '<li><a href="https://app.example.com">网格员应用</a></li>' in done.text
    async with outside(district) as client:
        for gone in (link, other, link[:-1] + "x"):
            answer = await client.get(gone.removeprefix("http://gateway"))
            assert (answer.status_code, "was used before, or has expired" in answer.text) == (404, True)
        from tests.gateway.signing_in import Person

        pkce = Pkce()
        browser = await Person("chen.admin").sign_in(client, pkce)
        token = (await tokens_of(client, browser.answer["code"], pkce))["access_token"]
        grants = (await client.get("/gateway/v1/grants", headers=bearer(token))).json()["items"]
        assert [(one["role"], one["region"], one["party"], one["state"], one["given_by"]) for one in grants] == [
            ("command", "", "新塘街道指挥部", "active", "installation")
        ]


async def test_the_first_administrator_is_told_if_there_is_no_application_yet(district: District) -> None:
    done = await set_password(
        district, await first_link(district), PASSWORD, login="chen.admin", name="陈", party="指挥部"
    )
    assert "fangxian clients add" in done.text


async def test_two_who_race_for_the_first_link_are_one_administrator(district: District) -> None:
    link = await first_link(district)
    asked = [
        set_password(district, link, "a long walk along the wall", login=f"admin{n}", name="x", party="y")
        for n in range(6)
    ]
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404, 404]
    assert len(await district.sql("SELECT FROM gateway.accounts")) == 1
    assert len(await district.sql("SELECT FROM gateway.grants")) == 1


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "at least 12 characters"),
        ("x" * 129, "at most 128 characters"),
        ("password123456", "too common"),
        ("aaaaaaaaaaaaaaaa", "too common"),
        ("my.name.lin.grid", "must not contain the user name"),
        ("林静在城墙上走了很久很久", "must not contain your name"),
    ],
    ids=["short", "long", "common", "one letter", "login", "name"],
)
async def test_a_password_that_is_soon_guessed_is_not_taken(district: District, password: str, words: str) -> None:
    command = district.caller("gateway", Role.COMMAND, scope="")
    new = {"login": "lin.grid", "name": "林静", "region": ""}
    link = (await command.post("/gateway/v1/accounts", json=new)).json()["link"]
    answer = await set_password(district, link, password)
    assert (answer.status_code, words in answer.text) == (422, True)
    assert "You can sign in now" in (await set_password(district, link, "a long walk along the wall")).text


async def test_accounts_are_listed_with_the_names_of_their_owners(district: District) -> None:
    command = district.caller("gateway", Role.COMMAND, scope="")
    made = (await command.post("/gateway/v1/accounts", json={"login": "lin.grid", "name": "林静", "region": ""})).json()
    listed = (await command.get("/gateway/v1/accounts", params={"limit": 200})).json()["items"]
    assert made["name"] == "林静"
    assert [one["name"] for one in listed if one["login"] == "lin.grid"] == ["林静"]


async def test_a_link_is_good_for_a_day(district: District) -> None:
    command = district.caller("gateway", Role.COMMAND, scope="")
    new = {"login": "lin.grid", "name": "林静", "region": ""}
    link = (await command.post("/gateway/v1/accounts", json=new)).json()["link"]
    district.move_clock(hours=24, seconds=1)
    async with outside(district) as client:
        assert (await client.get(link.partition("8000")[2])).status_code == 404


# What clients may ask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "nobody"},
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": REDIRECT + "?x=1"},
        {"redirect_uri": "https://app.example.com.evil.example/signed-in"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
    ids=lambda changed: "-".join(changed.values()),
)
async def test_nobody_is_sent_where_the_client_is_not(district: District, changed: dict[str, str]) -> None:
    await app(district)
    async with outside(district) as client:
        answer = await client.get("/sign-in/authorize", params=Pkce().asked(**changed))
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert "redirect URI is another one" in answer.text


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": " ".join(f"s{n}" for n in range(1_000))}, "invalid_scope"),
        ({"nonce": "n" * 501}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "http://169.254.169.254/"}, "request_uri_not_supported"),
        ({"grant_id": "x' OR 1=1"}, "invalid_request"),
    ],
    ids=str,
)
async def test_what_a_client_may_not_ask_it_is_told(
    district: District, changed: dict[str, str | None], error: str
) -> None:
    await app(district)
    async with outside(district) as client:
        pkce = Pkce()
        browser = await Browser.at(client, pkce.asked(**changed))
        assert browser.answer["error"] == error
        assert browser.answer["state"] == pkce.state
        assert browser.answer["iss"]


async def test_a_code_is_the_askers_alone_and_good_once(district: District) -> None:
    await app(district)
    await app(district, client_id="other-app")
    someone = await person(district)
    async with outside(district) as client:
        pkce = Pkce()
        code = (await someone.sign_in(client, pkce)).answer["code"]
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "client_id": "grid-app",
            "code_verifier": pkce.verifier,
        }
        for changed in (
            {"code_verifier": Pkce().verifier},
            {"code_verifier": ""},
            {"redirect_uri": REDIRECT + "/"},
            {"redirect_uri": ""},
            {"client_id": "other-app"},
            {"code": code[:-1] + "_"},
        ):
            answer = await client.post("/oauth/token", data={**asked, **changed})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), changed
            assert answer.headers["cache-control"] == "no-store"
        racing = await asyncio.gather(*(client.post("/oauth/token", data=asked) for _ in range(8)))
        good = [answer.json() for answer in racing if answer.status_code == 200]
        assert len(good) == 1
        # The code was used again: whoever has its tokens may not be the one who was meant.
        assert (await refreshed(client, good[0]["refresh_token"])).json()["error"] == "invalid_grant"
        await until_refused(client, good[0]["access_token"])


async def test_a_code_is_good_for_a_minute(district: District) -> None:
    await app(district)
    someone = await person(district)
    async with outside(district) as client:
        pkce = Pkce()
        code = (await someone.sign_in(client, pkce)).answer["code"]
        district.move_clock(seconds=61)
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": "grid-app"}
        answer = await client.post("/oauth/token", data={**asked, "code_verifier": pkce.verifier})
        assert answer.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("grant_type=password&client_id=grid-app", "unsupported_grant_type"),
        ("client_id=grid-app", "unsupported_grant_type"),
        ("grant_type=refresh_token&grant_type=refresh_token&client_id=grid-app", "invalid_request"),
        ("grant_type=refresh_token&client_id=grid-app&refresh_token=%ff", "invalid_request"),
        ("&".join(f"p{n}=1" for n in range(41)), "invalid_request"),
        ("grant_type=refresh_token&client_id=nobody", "invalid_client"),
        ("grant_type=client_credentials&client_id=grid-app", "unauthorized_client"),
        ("grant_type=refresh_token&client_id=grid-app&refresh_token=x", "invalid_grant"),
    ],
    ids=lambda text: str(text)[:60],
)
async def test_a_token_request_that_makes_no_sense_has_a_name(district: District, body: str, error: str) -> None:
    await app(district)
    async with outside(district, **{"content-type": "application/x-www-form-urlencoded"}) as client:
        answer = await client.post("/oauth/token", content=body)
        assert answer.json()["error"] == error
        assert answer.status_code == (401 if error == "invalid_client" else 400)
        as_json = await client.post("/oauth/token", json={}, headers={"content-type": "application/json"})
        assert as_json.json()["error"] == "invalid_request"


# How sessions go on and end -----------------------------------------------------------------------------------------


async def test_a_refresh_token_is_good_once_and_a_late_second_use_ends_the_session(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        _, first = await signed_in(district, client)
        second = (await refreshed(client, first["refresh_token"])).json()
        assert (await client.get(REGIONS, headers=bearer(second["access_token"]))).status_code == 200
        district.move_clock(seconds=31)
        reused = await refreshed(client, first["refresh_token"])
        assert (reused.status_code, reused.json()["error_code"]) == (400, "refresh_token_used")
        assert (await refreshed(client, second["refresh_token"])).json()["error_code"] == "session_ended"
        await until_refused(client, second["access_token"])


async def test_a_refresh_whose_answer_was_lost_is_answered_again_with_the_same_successor(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        _, first = await signed_in(district, client)
        answers = await asyncio.gather(*(refreshed(client, first["refresh_token"]) for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        (successor,) = {answer.json()["refresh_token"] for answer in answers}
        assert len(await district.sql("SELECT FROM gateway.refresh_tokens")) == 2
        for answer in answers:
            assert (await client.get(REGIONS, headers=bearer(answer.json()["access_token"]))).status_code == 200
        assert (await refreshed(client, successor)).status_code == 200


async def test_a_thief_who_repeats_a_refresh_gets_no_branch_of_their_own(district: District) -> None:
    """The successor has been used: so its owner has it, and who repeats the token before is somebody else."""
    await app(district)
    async with outside(district) as client:
        _, first = await signed_in(district, client)
        second = (await refreshed(client, first["refresh_token"])).json()
        stolen = (await refreshed(client, first["refresh_token"])).json()
        assert stolen["refresh_token"] == second["refresh_token"]
        third = (await refreshed(client, second["refresh_token"])).json()
        assert (await refreshed(client, first["refresh_token"])).json()["error_code"] == "refresh_token_used"
        assert (await refreshed(client, third["refresh_token"])).json()["error_code"] == "session_ended"
        (ended,) = await district.sql("SELECT ended_why FROM gateway.sessions")
        assert ended["ended_why"] == "refresh_token_reused"


async def test_another_client_cannot_repeat_a_refresh(district: District) -> None:
    await app(district)
    await app(district, client_id="other-app")
    async with outside(district) as client:
        _, first = await signed_in(district, client)
        await refreshed(client, first["refresh_token"])
        answer = await refreshed(client, first["refresh_token"], client_id="other-app")
        assert answer.json()["error_code"] == "refresh_token_unknown"


async def test_an_owner_lists_and_ends_their_sessions_and_nobody_elses(district: District) -> None:
    await app(district)
    async with outside(district, **{"user-agent": "Phone"}) as client:
        _, tokens = await signed_in(district, client)
        _, others = await signed_in(district, client, login="wu.other")
        mine = (await client.get("/gateway/v1/sessions", headers=bearer(tokens["access_token"]))).json()["items"]
        assert [(one["client_id"], one["agent"]) for one in mine] == [("grid-app", "Phone")]
        path = f"/gateway/v1/sessions/{mine[0]['id']}"
        assert (await client.delete(path, headers=bearer(others["access_token"]))).status_code == 404
        assert (await client.get(REGIONS, headers=bearer(tokens["access_token"]))).status_code == 200
        assert (await client.delete(path, headers=bearer(tokens["access_token"]))).status_code == 204
        await until_refused(client, tokens["access_token"])
        assert (await refreshed(client, tokens["refresh_token"])).json()["error"] == "invalid_grant"
        assert (await client.get(REGIONS, headers=bearer(others["access_token"]))).status_code == 200


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_a_revoked_token_ends_its_session(district: District, kind: str) -> None:
    await app(district)
    await app(district, client_id="other-app")
    async with outside(district) as client:
        _, tokens = await signed_in(district, client)
        for client_id in ("other-app", "grid-app"):
            assert (await client.get(REGIONS, headers=bearer(tokens["access_token"]))).status_code == 200
            answer = await client.post("/oauth/revoke", data={"token": tokens[kind], "client_id": client_id})
            assert answer.status_code == 200
        await until_refused(client, tokens["access_token"])
        unknown = await client.post("/oauth/revoke", data={"token": "x", "client_id": "grid-app"})
        assert unknown.status_code == 200


async def test_a_client_signs_somebody_out_by_their_id_token(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        _, tokens = await signed_in(district, client)
        asked = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": REDIRECT, "state": "s"}
        forged = {**asked, "id_token_hint": tokens["id_token"][:-8] + "AAAAAAAA"}
        assert (await client.get("/sign-in/end", params=forged)).status_code == 400
        elsewhere = await client.get(
            "/sign-in/end", params={**asked, "post_logout_redirect_uri": "https://evil.example"}
        )
        assert (elsewhere.status_code, "location" in elsewhere.headers) == (200, False)
        answer = await client.get("/sign-in/end", params=asked)
        assert answer.headers["location"].startswith(REDIRECT + "?state=s")
        await until_refused(client, tokens["access_token"])


async def test_a_session_of_staff_lasts_a_shift(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        _, tokens = await signed_in(district, client)
        district.move_clock(hours=11, minutes=55)
        again = (await refreshed(client, tokens["refresh_token"])).json()
        assert again["expires_in"] <= 300
        district.move_clock(hours=12, seconds=1)
        assert (await refreshed(client, again["refresh_token"])).json()["error"] == "invalid_grant"
