"""Devices without a browser sign in by a code that a person types elsewhere (RFC 8628); so does the console script."""

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.session import Session
from deploy.trouble import Trouble
from services.gateway.accounts.rules import user_code_lanes
from services.gateway.issuer.devices import CONSOLE
from services.gateway.issuer.rules import DEVICE_CODE
from shared.core.actors import Role
from tests.gateway.signing_in import SECRET, Browser, Person, app, bearer, outside, person, refreshed
from tests.gateway.test_third_party_client import listening
from tests.harness import District


async def begin(client: httpx.AsyncClient, client_id: str = CONSOLE) -> dict[str, Any]:
    answer = await client.post("/oauth/device_authorization", data={"client_id": client_id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def poll(client: httpx.AsyncClient, begun: dict[str, Any], client_id: str = CONSOLE) -> httpx.Response:
    asked = {"grant_type": DEVICE_CODE, "client_id": client_id, "device_code": begun["device_code"]}
    return await client.post("/oauth/token", data=asked)


async def let_in(client: httpx.AsyncClient, someone: Person, address: str, code: str) -> Browser:
    """A person types the code in a browser, and signs in there."""
    browser = Browser(client)
    await browser.follow(await client.get(urlsplit(address).path))
    await browser.submit("look", user_code=code)
    await browser.submit("password", login=someone.login, password=someone.password)
    if (found := SECRET.search(browser.text)) is not None:
        someone.authenticator = found[1]
        await browser.submit("enrol", code=someone.digits())
        await browser.submit("continue")
    else:
        await browser.submit("digits", code=someone.digits())
    return browser


async def test_a_device_is_let_in_by_a_person_in_a_browser(district: District) -> None:
    someone = await person(district)
    async with outside(district, "192.0.2.9") as device, outside(district) as client:
        begun = await begin(device)
        assert begun["verification_uri_complete"].endswith(f"/sign-in/device?user_code={begun['user_code']}")
        assert (begun["expires_in"], begun["interval"]) == (900, 5)
        assert (await poll(device, begun)).json()["error"] == "authorization_pending"
        typed = begun["user_code"].lower().replace("-", " ")
        browser = await let_in(client, someone, begun["verification_uri"], typed)
        assert "The device is signed in" in browser.text
        district.move_clock(seconds=5)
        tokens = (await poll(device, begun)).json()
        who = (await device.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))).json()
        assert (who["sub"], who["role"]) == (someone.account_id, "grid_worker")
        assert (await refreshed(device, tokens["refresh_token"], client_id=CONSOLE)).status_code == 200
        assert (await poll(device, begun)).json()["error_code"] == "device_code_unknown"  # good once


async def test_the_page_says_which_device_asks(district: District) -> None:
    async with outside(district, "192.0.2.9") as device, outside(district) as client:
        begun = await begin(device)
        browser = Browser(client)
        await browser.follow(await client.get(begun["verification_uri_complete"].partition("8000")[2]))
        assert f'value="{begun["user_code"]}"' in browser.text
        await browser.submit("look", user_code=begun["user_code"])
        assert f"A device (from 192.0.2.9, code {begun['user_code']}) requests" in browser.text


async def test_a_device_that_asks_too_often_is_slowed_down(district: District) -> None:
    async with outside(district) as device:
        begun = await begin(device)
        errors = []
        for seconds in (0, 1, 6, 16):
            district.move_clock(seconds=seconds)
            errors.append((await poll(device, begun)).json()["error"])
        assert errors == ["authorization_pending", "slow_down", "slow_down", "slow_down"]
        district.move_clock(seconds=40)
        assert (await poll(device, begun)).json()["error"] == "authorization_pending"
        district.move_clock(minutes=16)
        assert (await poll(device, begun)).json()["error"] == "expired_token"


async def test_a_person_refuses_a_device(district: District) -> None:
    async with outside(district) as device, outside(district) as client:
        begun = await begin(device)
        browser = Browser(client)
        await browser.follow(await client.get(begun["verification_uri_complete"].partition("8000")[2]))
        await browser.submit("refuse", user_code=begun["user_code"])
        assert "Refused" in browser.text
        assert (await poll(device, begun)).json()["error"] == "access_denied"


async def test_codes_of_devices_are_not_found_by_trying(district: District) -> None:
    most = user_code_lanes("198.51.100.5")[0].most
    async with outside(district, "198.51.100.5") as client, outside(district) as other:
        begun = await begin(other)
        browser = Browser(client)
        await browser.follow(await client.get("/sign-in/device"))
        statuses = [(await browser.submit("look", user_code="BCDF-GHJK")).status_code for _ in range(most + 1)]
        assert statuses == [422] * most + [429]
        assert (await browser.submit("look", user_code=begun["user_code"])).status_code == 429


async def test_a_device_code_is_its_clients_alone_and_a_revoked_console_is_out(district: District) -> None:
    await app(district)
    command = district.caller("gateway", Role.COMMAND, scope="")
    async with outside(district) as device:
        begun = await begin(device)
        assert (await poll(device, begun, "grid-app")).json()["error_code"] == "device_code_unknown"
        (console,) = [
            one for one in (await command.get("/gateway/v1/clients")).json()["items"] if one["client_id"] == CONSOLE
        ]
        await command.post(f"/gateway/v1/clients/{console['id']}/revoke")
        answer = await device.post("/oauth/device_authorization", data={"client_id": CONSOLE})
        assert (answer.status_code, answer.json()["error_code"]) == (401, "client_unknown")


# The console script -------------------------------------------------------------------------------------------------


@pytest.fixture
async def gateway(district: District) -> AsyncIterator[str]:
    async with listening(district) as url:
        yield url


async def signed_in(gateway: str, session: Session, someone: Person) -> None:
    """As `fangxian sign-in` does it, with a person who opens the page that it shows."""
    shown, loop = asyncio.Queue[tuple[str, str]](), asyncio.get_running_loop()
    begun = asyncio.create_task(
        asyncio.to_thread(session.sign_in, lambda *said: loop.call_soon_threadsafe(shown.put_nowait, said))
    )
    address, code = await shown.get()
    async with httpx.AsyncClient(base_url=gateway, headers={"accept-language": "en"}, timeout=60) as client:
        await let_in(client, someone, address, code)
    await begun


def at(gateway: str, place: Path) -> Session:
    """A session whose waits do not wait: the device is let in while it is slowed down, at the latest."""
    waited = threading.Event()
    return Session(gateway, place / "state" / "session.json", sleep=lambda _: waited.wait(0.2) and None)


async def test_a_shell_signs_in_once_and_has_tokens_from_then_on(
    district: District, gateway: str, tmp_path: Path
) -> None:
    someone, session = await person(district), at(gateway, tmp_path)
    await signed_in(gateway, session, someone)
    assert stat.S_IMODE(session.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(session.file.parent.stat().st_mode) == 0o700
    first = await asyncio.to_thread(session.token)
    async with httpx.AsyncClient(base_url=gateway) as client:
        assert (await client.get("/oauth/userinfo", headers=bearer(first))).json()["sub"] == someone.account_id
        assert await asyncio.to_thread(session.token) == first  # still fresh
        expire(session)
        tokens = await asyncio.gather(*(asyncio.to_thread(at(gateway, tmp_path).token) for _ in range(5)))
        assert len(set(tokens)) == 1  # of five shells at once one refreshed
        assert await asyncio.to_thread(session.sign_out)
        assert not session.file.exists()
    with pytest.raises(Trouble, match=r"You are not signed in to .*\. Run `fangxian sign-in`"):
        await asyncio.to_thread(session.token)
    (ended,) = await district.sql("SELECT ended_why FROM gateway.sessions")
    assert ended["ended_why"] == "revoked"


async def test_a_refresh_whose_answer_was_lost_is_sent_again(district: District, gateway: str, tmp_path: Path) -> None:
    someone, session = await person(district), at(gateway, tmp_path)
    await signed_in(gateway, session, someone)
    expire(session)
    lossy = Session(gateway, session.file, transport=Lossy(), sleep=lambda _: None)
    token = await asyncio.to_thread(lossy.token)
    async with httpx.AsyncClient(base_url=gateway) as client:
        assert (await client.get("/oauth/userinfo", headers=bearer(token))).status_code == 200


async def test_a_session_that_has_ended_is_told_in_a_sentence(district: District, gateway: str, tmp_path: Path) -> None:
    someone, session = await person(district), at(gateway, tmp_path)
    await signed_in(gateway, session, someone)
    expire(session)
    await district.sql("UPDATE gateway.sessions SET ended_at = now()")
    with pytest.raises(Trouble, match=r"^The session has ended .* Run `fangxian sign-in` again\.$"):
        await asyncio.to_thread(session.token)
    assert not session.file.exists()


def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(Trouble, match="is not the address of a gateway"):
        Session.at("fangxian.example.cn")
    monkeypatch.setenv("FANGXIAN", "https://fangxian.example.cn/")
    assert Session.at(None).url == "https://fangxian.example.cn"
    assert Session.at(None).file.is_relative_to(tmp_path)


def expire(session: Session) -> None:
    kept = json.loads(session.file.read_text())
    session.file.write_text(json.dumps({**kept, "expires_at": 0}))
    os.utime(session.file)


class Lossy(httpx.BaseTransport):
    """A network that loses the first answer, after the server has given it."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        if not self.lost:
            self.lost = True
            answer.read()
            raise httpx.ReadError("lost")
        return answer
