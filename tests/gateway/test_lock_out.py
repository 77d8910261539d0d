"""Guessing leads nowhere, and locks nobody out: a thousand strangers against one person."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from services.gateway.accounts import rules
from services.gateway.accounts.passwords import MOST_WAITING
from shared.core import clock
from tests.gateway.signing_in import Browser, Person, Pkce, app, bearer, outside, person, refreshed, tokens_of
from tests.harness import District
from tests.until import until

PHONE = "15400005678"
STRANGERS = [f"198.51.{n // 250}.{n % 250}" for n in range(1_000)]
PHONE_CODE = "urn:fangxian:params:oauth:grant-type:phone-code"


@pytest.fixture
async def client(district: District) -> AsyncIterator[httpx.AsyncClient]:
    await app(district)
    async with outside(district, "203.0.113.7") as found:
        yield found


async def at_once(calls: Sequence[Any], most: int = 5) -> list[Any]:
    gate = asyncio.Semaphore(most)

    async def one(call: Any) -> Any:
        async with gate:
            return await call

    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(one(call)) for call in calls]
    return [task.result() for task in begun]


# Residents: codes to a phone ----------------------------------------------------------------------------------------


async def challenge(client: httpx.AsyncClient, phone: str = PHONE) -> dict[str, Any]:
    answer = await client.post("/gateway/v1/phone-challenges", json={"phone": phone})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def answer_it(client: httpx.AsyncClient, opened: dict[str, Any], code: str) -> httpx.Response:
    asked = {name: opened[name] for name in ("challenge_id", "challenge_secret")}
    return await client.post(
        "/oauth/token", data={"grant_type": PHONE_CODE, "client_id": "grid-app", "code": code, **asked}
    )


def codes_in(logs: list[Any]) -> list[str]:
    return [entry["code"] for entry in logs if entry["event"] == "phone.code"]


async def test_a_resident_signs_in_by_phone_at_the_page(district: District, client: httpx.AsyncClient) -> None:
    pkce = Pkce()
    browser = await Browser.at(client, pkce.asked())
    await browser.submit("phone", phone="123")
    assert "mobile number that can receive" in browser.text
    assert 'value="123"' in browser.text  # what was typed stays
    assert browser.text.index('role="alert"') < browser.text.index("<h2>Staff")  # and the fault stands in its form
    with capture_logs() as logs:
        await browser.submit("phone", phone="+86 154 0000 5678")
    assert "sent to 154****5678" in browser.text
    (code,) = codes_in(logs)
    assert re.fullmatch(r"[0-9]{6}", code)
    assert PHONE not in str(logs)
    await browser.submit("phone_code", code="000000" if code != "000000" else "000001")
    assert "not correct" in browser.text
    district.move_clock(seconds=61)
    with capture_logs() as logs:
        await browser.submit("phone_again")  # without the number
    assert codes_in(logs) == [code]
    await browser.submit("phone_code", code=code)
    tokens = await tokens_of(client, browser.answer["code"], pkce)
    who = (await client.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))).json()
    assert (who["role"], who["residents"]) == ("resident", [])
    unbound = await client.get("/gateway/v1/code", headers=bearer(tokens["access_token"]))
    assert (unbound.status_code, unbound.json()["code"]) == (403, "not_bound")
    assert "/gateway" not in unbound.json()["detail"]
    assert (await refreshed(client, tokens["refresh_token"])).status_code == 200


async def test_an_app_signs_a_resident_in_and_the_account_stays_the_same(
    district: District, client: httpx.AsyncClient
) -> None:
    subjects = set()
    for _ in range(2):
        with capture_logs() as logs:
            opened = await challenge(client)
        tokens = (await answer_it(client, opened, codes_in(logs)[-1])).json()
        subjects.add((await client.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))).json()["sub"])
        again = await answer_it(client, opened, codes_in(logs)[-1])
        assert again.json()["error"] == "invalid_grant"
        district.move_clock(minutes=6)
    assert len(subjects) == 1
    (kept,) = await district.sql("SELECT phone_sealed FROM gateway.accounts")
    assert PHONE.encode() not in kept["phone_sealed"]


async def test_a_code_is_good_for_five_minutes_and_five_tries(district: District, client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        opened = await challenge(client)
    (code,) = codes_in(logs)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for tries in range(5):
        answer = await answer_it(client, opened, wrong)
        assert answer.json()["error_code"] == ("challenge_over" if tries == 4 else "phone_code_wrong")
    assert (await answer_it(client, opened, code)).json()["error"] == "invalid_grant"
    other = await challenge(client)  # the code is still the same
    district.move_clock(minutes=5)
    assert (await answer_it(client, other, code)).json()["error_code"] == "challenge_over"


async def test_a_challenge_is_who_asked_alone(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        opened = await challenge(client)
    (code,) = codes_in(logs)
    for changed in ({"challenge_secret": "x"}, {"challenge_id": str(uuid4())}, {"challenge_id": "x"}):
        assert (await answer_it(client, {**opened, **changed}, code)).status_code == 400
    assert (await answer_it(client, opened, code)).status_code == 200


async def test_of_the_same_code_at_once_one_signs_in(district: District, client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        opened = await challenge(client)
    answers = await asyncio.gather(*(answer_it(client, opened, codes_in(logs)[0]) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert len(await district.sql("SELECT FROM gateway.accounts")) == 1


async def test_a_thousand_strangers_neither_get_in_nor_lock_the_resident_out(
    district: District, client: httpx.AsyncClient
) -> None:
    """One bad code from each of a thousand addresses, while the owner signs in for the first time."""
    with capture_logs() as logs:
        mine = await challenge(client)
        first, began = codes_in(logs)[0], datetime.now(UTC)

        async def guess(address: str) -> int:
            clock.move(began - datetime.now(UTC))  # time stands still: a busy machine takes longer than a code lasts
            async with outside(district, address) as stranger:
                opened = await challenge(stranger)
                wrong = "000000" if first != "000000" else "000001"
                return (await answer_it(stranger, opened, wrong)).status_code

        statuses = await at_once([guess(address) for address in STRANGERS])
    assert set(statuses) == {400}
    sent = codes_in(logs)
    # Twenty guesses at six digits, and then ten digits: a thousand guesses more are one in ten million.
    assert [len(code) for code in sent] == [6, 10]
    assert (await answer_it(client, mine, first)).json()["error"] == "invalid_grant"
    assert (await answer_it(client, mine, sent[1])).status_code == 200
    with capture_logs() as logs:
        again = await challenge(client)
    assert len(codes_in(logs)[0]) == 10
    assert (await answer_it(client, again, codes_in(logs)[0])).status_code == 200


async def test_patience_is_met_by_a_longer_code(district: District, client: httpx.AsyncClient) -> None:
    """Guesses count on from code to code: nineteen at each would else go on for ever."""
    with capture_logs() as logs:
        for _ in range(5):
            opened = await challenge(client)
            for _ in range(5):
                await answer_it(client, opened, "x")
            district.move_clock(minutes=11)
        await challenge(client)
    lengths = [len(code) for code in codes_in(logs)]
    assert lengths[0] == 6
    assert lengths[-1] > 6


async def test_a_phone_is_not_flooded_with_messages(district: District, client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        for minute in range(5):
            district.move_clock(seconds=minute * 59)
            for n in range(20):
                async with outside(district, f"198.51.100.{minute * 20 + n}") as stranger:
                    await challenge(stranger)
    assert 1 < len(codes_in(logs)) <= rules.MOST_SENDS
    assert len(set(codes_in(logs))) == 1


async def test_one_address_asks_for_a_few_codes_only(client: httpx.AsyncClient) -> None:
    asked = [(await client.post("/gateway/v1/phone-challenges", json={"phone": PHONE})) for _ in range(6)]
    assert [answer.status_code for answer in asked] == [200] * 5 + [429]
    assert 500 < int(asked[-1].headers["retry-after"]) <= 601
    assert (await client.post("/gateway/v1/phone-challenges", json={"phone": "12345"})).status_code == 422


# Staff: passwords and authenticators --------------------------------------------------------------------------------


async def guess_password(district: District, address: str, login: str, password: str) -> int:
    async with outside(district, address) as stranger:
        browser = await Browser.at(stranger, Pkce().asked())
        if browser.page.status_code == 503:
            return 503
        answer = await browser.submit("password", login=login, password=password)
        return answer.status_code


async def test_an_address_that_guesses_has_to_wait_and_nobody_else(
    district: District, client: httpx.AsyncClient
) -> None:
    someone = await person(district)
    statuses = [await guess_password(district, "198.51.100.1", someone.login, "wrong wrong wrong") for _ in range(7)]
    assert statuses == [422] * 5 + [429] * 2
    assert await guess_password(district, "198.51.100.1", someone.login, someone.password) == 429
    assert "code" in (await someone.sign_in(client, Pkce())).answer
    district.move_clock(minutes=15, seconds=1)
    assert await guess_password(district, "198.51.100.1", someone.login, "wrong wrong wrong") == 422


async def test_an_unknown_name_is_answered_as_a_wrong_password(district: District, client: httpx.AsyncClient) -> None:
    await person(district)
    pages = []
    for login in ("lin.grid", "nobody.here"):
        browser = await Browser.at(client, Pkce().asked())
        await browser.submit("password", login=login, password="wrong wrong wrong")
        pages.append(re.sub(r'value="[0-9a-f]+"', "", browser.text).replace(login, "the name that was typed"))
    assert pages[0] == pages[1]
    assert await guess_password(district, "198.51.100.2", "nobody.here", "wrong wrong wrong") == 422


async def test_strangers_who_know_the_password_share_ten_tries_and_the_owner_has_their_own(
    district: District, client: httpx.AsyncClient
) -> None:
    someone = await person(district)
    await someone.sign_in(client, Pkce())  # this browser is known from now on
    district.move_clock(minutes=1)

    async def guess(address: str) -> int:
        async with outside(district, address) as stranger:
            browser = await Browser.at(stranger, Pkce().asked())
            await browser.submit("password", login=someone.login, password=someone.password)
            wrong = "000000" if someone.digits() != "000000" else "000001"
            return (await browser.submit("digits", code=wrong)).status_code

    statuses = await at_once([guess(address) for address in STRANGERS[:40]])
    assert sorted(statuses) == [422] * 10 + [429] * 30
    async with outside(district, "198.51.100.77") as thief:
        browser = await Browser.at(thief, Pkce().asked())
        await browser.submit("password", login=someone.login, password=someone.password)
        assert (await browser.submit("digits", code=someone.digits())).status_code == 429
    assert "code" in (await someone.sign_in(client, Pkce())).answer
    async with outside(district, "192.0.2.1") as new_phone:
        browser = await Browser.at(new_phone, Pkce().asked())
        await browser.submit("password", login=someone.login, password=someone.password)
        await browser.submit("digits", code=someone.recovery_codes[3])
        assert "code" in browser.answer
        browser = await Browser.at(new_phone, Pkce().asked())
        await browser.submit("password", login=someone.login, password=someone.password)
        assert "not correct" in (await browser.submit("digits", code=someone.recovery_codes[3])).text


async def test_digits_are_good_once(district: District, client: httpx.AsyncClient) -> None:
    someone: Person = await person(district)
    await someone.sign_in(client, Pkce())
    browser = await Browser.at(client, Pkce().asked())
    await browser.submit("password", login=someone.login, password=someone.password)
    await browser.submit("digits", code=someone.shown)  # the very same, though others may be shown by now
    assert "not correct" in browser.text
    district.move_clock(seconds=31)
    await browser.submit("digits", code=someone.digits())
    assert "code" in browser.answer


async def test_random_names_from_one_address_keep_nobody_else_out(
    district: District, client: httpx.AsyncClient
) -> None:
    """A stranger guesses at ever new names, as fast as can be, while two members of staff sign in.

    One comes from elsewhere. The other shares the stranger's address, and has a browser that is known.
    """
    someone, colleague = await person(district), await person(district, login="wu.colleague")
    stranger = "198.51.100.66"
    done = asyncio.Event()
    statuses: list[int] = []

    async def flood(n: int) -> None:
        while not done.is_set():
            statuses.append(await guess_password(district, stranger, f"name-{n}-{len(statuses)}", "wrong wrong wrong"))

    async with outside(district, stranger) as next_desk:
        assert "code" in (await colleague.sign_in(next_desk, Pkce())).answer
        await fill(district, stranger, but_for=8)
        district.move_clock(minutes=1)
        floods = [asyncio.create_task(flood(n)) for n in range(16)]
        try:
            await until(lambda: 429 in statuses, seconds=240)
            assert "code" in (await someone.sign_in(client, Pkce())).answer
            assert "code" in (await colleague.sign_in(next_desk, Pkce())).answer
        finally:
            done.set()
            await asyncio.gather(*floods)
    assert set(statuses) <= {422, 429, 503}


async def test_guesses_at_ever_new_names_are_bounded_and_leave_nothing_behind(district: District) -> None:
    await app(district)
    stranger, began = "198.51.100.66", datetime.now(UTC)
    await fill(district, stranger, but_for=3)
    statuses = []
    for n in range(8):
        clock.move(began - datetime.now(UTC))  # time stands still: the lane does not drain meanwhile
        statuses.append(await guess_password(district, stranger, f"name-{n}", "wrong wrong wrong"))
    assert statuses == [422] * 3 + [429] * 5
    assert await guess_password(district, "198.51.100.67", "name", "wrong wrong wrong") == 422
    lanes = await district.sql("SELECT FROM gateway.attempts")
    assert len(lanes) == 1 + 3 + 2  # none for the names that were not looked at


async def fill(district: District, network: str, but_for: int) -> None:
    """Let a network address have used up its wrong passwords, but for some."""
    (lane, *_) = rules.password_lanes("", network, None)
    drained = clock.now() + lane.window - but_for * lane.step
    statement = """
        INSERT INTO gateway.attempts (lane, count, since) VALUES ($1, 1, $2)
        ON CONFLICT (lane) DO UPDATE SET since = excluded.since
    """
    await district.sql(statement, lane.key, drained)


async def test_who_was_right_leaves_the_network_its_tries(district: District, client: httpx.AsyncClient) -> None:
    """A hospital behind one address: who signs in well takes nothing from the others."""
    someone = await person(district)
    for minute in range(3):
        district.move_clock(minutes=minute)
        async with outside(district, "198.51.100.7") as colleague:
            assert "code" in (await someone.sign_in(colleague, Pkce())).answer
    (lane, *_) = rules.password_lanes("", "198.51.100.7", None)
    (kept,) = await district.sql(
        "SELECT since <= now() + interval '5 minutes' AS empty FROM gateway.attempts WHERE lane = $1", lane.key
    )
    assert kept["empty"]


async def test_guesses_at_many_phones_make_all_codes_longer(district: District, client: httpx.AsyncClient) -> None:
    """Five guesses at each of many phones: none of them is guessed at often, and all together are."""
    for n in range(rules.WRONG_CODES.most // rules.TRIES + 1):
        opened = await challenge(client, f"154{n:08d}")
        for _ in range(rules.TRIES):
            await answer_it(client, opened, "x")
    with capture_logs() as logs:
        opened = await challenge(client, PHONE)
    (code,) = codes_in(logs)
    assert len(code) == rules.LONG_DIGITS
    assert opened["expires_in"] == rules.LONG_CODE_LIFETIME.total_seconds()
    assert (await answer_it(client, opened, code)).status_code == 200
    district.move_clock(hours=1)
    with capture_logs() as logs:
        await challenge(client, "15400009999")
    assert len(codes_in(logs)[0]) == rules.SHORT_DIGITS


async def test_an_owner_who_mistypes_and_gets_in_makes_no_code_longer(
    district: District, client: httpx.AsyncClient
) -> None:
    for n in range(rules.WRONG_CODES.most // 4 + 5):
        with capture_logs() as logs:
            opened = await challenge(client, f"154{n:08d}")
        (code,) = codes_in(logs)
        assert len(code) == rules.SHORT_DIGITS
        for _ in range(4):
            await answer_it(client, opened, "x")
        assert (await answer_it(client, opened, code)).status_code == 200


async def test_a_carrier_behind_one_address_gets_its_codes(client: httpx.AsyncClient) -> None:
    opened = [await challenge(client, f"154{n:08d}") for n in range(150)]
    assert {one["expires_in"] for one in opened} <= {299, 300}


async def test_a_challenge_says_how_long_the_code_is_good(district: District, client: httpx.AsyncClient) -> None:
    first = await challenge(client)
    district.move_clock(minutes=3)
    second = await challenge(client)
    assert 295 <= first["expires_in"] <= 300
    assert second["expires_in"] <= 120


async def test_a_flood_of_passwords_is_turned_away_before_it_is_computed(district: District) -> None:
    await app(district)
    statuses = await at_once(
        [guess_password(district, address, "nobody", "wrong wrong wrong") for address in STRANGERS[:120]], most=120
    )
    assert set(statuses) <= {422, 503}
    assert statuses.count(422) >= MOST_WAITING


# Behind a proxy of ours -----------------------------------------------------------------------------------------------


@pytest.fixture
def behind_reverse_proxy(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    context = district.contexts["gateway"]
    networks = (ip_network("10.0.0.0/8"),)
    monkeypatch.setattr(context, "settings", context.settings.model_copy(update={"proxy_networks": networks}))


async def test_guesses_behind_one_proxy_shut_out_nobody_else(district: District, behind_reverse_proxy: None) -> None:
    await app(district)
    made = await person(district)
    said = {}
    for who, tries in (("198.51.100.1", 6), ("198.51.100.2", 1)):
        async with outside(district, "10.0.0.1", **{"x-forwarded-for": who}) as client:
            browser = await Browser.at(client, Pkce().asked())
            for _ in range(tries):
                await browser.submit("password", login=made.login, password="a long guess along the wall")
            said[who] = browser.text
    assert "Too many" in said["198.51.100.1"]
    assert "Too many" not in said["198.51.100.2"]


async def test_codes_asked_for_behind_one_proxy_cost_nobody_else(
    district: District, behind_reverse_proxy: None
) -> None:
    answers = []
    for who, times in (("198.51.100.1", 6), ("198.51.100.2", 1)):
        async with outside(district, "10.0.0.1", **{"x-forwarded-for": who}) as client:
            answers += [await client.post("/gateway/v1/phone-challenges", json={"phone": PHONE}) for _ in range(times)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429, 200]
