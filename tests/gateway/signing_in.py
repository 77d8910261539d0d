"""People at the sign-in pages: a browser without script, and what it takes to be somebody there."""

import asyncio
import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pyotp

from services.gateway.accounts.rules import digest
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District

REDIRECT = "https://app.example.com/signed-in"
REGIONS = "/registry/v1/regions/350582005"
PASSWORD = "a long walk along the wall"
SECRET = re.compile(r"<code>([A-Z2-7]{32})</code>")


def outside(district: District, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
    """Somebody with a network address and a cookie jar."""
    transport = httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=True, client=(address, 4321))
    return httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers={"accept-language": "en", **headers}
    )


@dataclass
class Pkce:
    """What a client keeps of a request until it is answered."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def asked(self, client_id: str = "grid-app", **changed: str | None) -> dict[str, str]:
        """The authorization request."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": REDIRECT,
            "scope": "openid",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changed,
        }
        return {name: value for name, value in asked.items() if value is not None}


@dataclass
class Browser:
    """A browser on a sign-in page."""

    client: httpx.AsyncClient
    page: httpx.Response | None = None

    @classmethod
    async def at(cls, client: httpx.AsyncClient, asked: dict[str, str]) -> Self:
        """Sent to the issuer by an application."""
        browser = cls(client)
        await browser.follow(await client.get("/sign-in/authorize?" + urlencode(asked)))
        return browser

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """Go where an answer leads, as long as that is here."""
        while answer.is_redirect and answer.headers["location"].startswith("/"):
            answer = await self.client.get(answer.headers["location"])
        self.page = answer
        return answer

    @property
    def text(self) -> str:
        """The page shown."""
        assert self.page is not None
        return unescape(self.page.text)

    async def submit(self, act: str, **fields: str) -> httpx.Response:
        """Fill in the form of an act, and press its button."""
        return await self.follow(await self.client.post(self.address, data=self.filled(act, **fields)))

    @property
    def address(self) -> str:
        """Where the page's forms lead."""
        assert self.page is not None
        return str(self.page.request.url.raw_path, "ascii")

    def filled(self, act: str, **fields: str) -> dict[str, str]:
        """The fields of a form, with the hidden ones it came with."""
        form = next(form for form in re.findall(r"<form.*?</form>", self.text, re.DOTALL) if f'value="{act}"' in form)
        token = re.search(r'name="token" value="([0-9a-f]+)"', form)
        assert token is not None
        return {"token": token[1], "act": act, **fields}

    @property
    def answer(self) -> dict[str, str]:
        """What the application is told, once it is sent back to."""
        assert self.page is not None, "no page"
        assert self.page.is_redirect, self.page.text
        location = self.page.headers["location"]
        assert location.startswith(REDIRECT), location
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@dataclass
class Person:
    """A member of staff, with what they know and have."""

    login: str
    password: str = PASSWORD
    account_id: str = ""
    authenticator: str = ""
    shown: str = ""
    """The digits that were looked at last."""
    recovery_codes: list[str] = field(default_factory=list)

    def digits(self, **later: float) -> str:
        """What the authenticator shows."""
        self.shown = pyotp.TOTP(self.authenticator).at(clock.now())
        return self.shown

    async def sign_in(self, client: httpx.AsyncClient, pkce: Pkce, **asked: str) -> Browser:
        """Through all pages, to the application or to the choice of a grant. The clock is to have moved on since."""
        browser = await Browser.at(client, pkce.asked(**asked))
        await browser.submit("password", login=self.login, password=self.password)
        if (found := SECRET.search(browser.text)) is not None:
            self.authenticator = found[1]
            await browser.submit("enrol", code=self.digits())
            self.recovery_codes = re.findall(r"<li>([a-z2-7-]+)</li>", browser.text)
            await browser.submit("continue")
        else:
            await browser.submit("digits", code=self.digits())
        return browser


async def tokens_of(client: httpx.AsyncClient, code: str, pkce: Pkce, client_id: str = "grid-app") -> dict[str, Any]:
    """A code exchanged."""
    asked = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": client_id,
        "code_verifier": pkce.verifier,
    }
    answer = await client.post("/oauth/token", data=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refreshed(client: httpx.AsyncClient, refresh_token: str, **more: str) -> httpx.Response:
    """A refresh token used."""
    asked = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": "grid-app", **more}
    return await client.post("/oauth/token", data=asked)


async def app(district: District, **changed: Any) -> None:
    """The application is registered."""
    command = district.caller("gateway", Role.COMMAND, scope="")
    new = {"client_id": "grid-app", "kind": "app", "name": "网格员应用", "region": "", "redirect_uris": [REDIRECT]}
    answer = await command.post("/gateway/v1/clients", json={**new, **changed})
    assert answer.status_code == 201, answer.text


ORGANISATION = "新塘街道社区卫生服务中心"


async def person(district: District, login: str = "lin.grid", role: str = "grid_worker", **grant: Any) -> Person:
    """A member of staff with a password and one grant."""
    command = district.caller("gateway", Role.COMMAND, scope="")
    region = grant.get("region", "350582005")
    made = await command.post("/gateway/v1/accounts", json={"login": login, "name": "林静", "region": region})
    assert made.status_code == 201, made.text
    someone = Person(login, account_id=made.json()["id"])
    await set_password(district, made.json()["link"], someone.password)
    given = {
        "account_id": someone.account_id,
        "role": role,
        "region": region,
        "party": ORGANISATION,
        "why": "test",
        **grant,
    }
    answer = await command.post("/gateway/v1/grants", json=given)
    assert answer.status_code == 201, answer.text
    return someone


async def set_password(district: District, link: str, password: str, **more: str) -> httpx.Response:
    """A one-time link used."""
    async with outside(district) as client:
        browser = Browser(client)
        await browser.follow(await client.get(urlsplit(link).path))
        return await browser.submit("set", **{"password": password, "again": password, **more})


async def first_link(district: District) -> str:
    """The link that `fangxian up` prints."""
    secret = secrets.token_urlsafe(32)
    await district.sql(
        "INSERT INTO gateway.links (id, hash, expires_at) VALUES ($1, $2, $3)",
        new_id(),
        digest(secret),
        clock.now() + timedelta(days=365),
    )
    return f"http://gateway/sign-in/link/{secret}"


def bearer(token: str) -> dict[str, str]:
    """An Authorization header."""
    return {"authorization": f"Bearer {token}"}


async def until_refused(client: object, token: str, path: str = REGIONS) -> None:
    """An ended session's token stops working within a second; given thirty, for a busy machine."""
    for _ in range(600):
        answer = await client.get(path, headers=bearer(token))  # type: ignore[attr-defined]
        if answer.status_code == 401:
            assert answer.json()["code"] == "unauthenticated"
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the token still works")


async def signed_in(district: District, client: object, **grant: object) -> tuple[object, dict[str, str]]:
    someone = await person(district, **grant)  # type: ignore[arg-type]
    pkce = Pkce()
    browser = await someone.sign_in(client, pkce)  # type: ignore[arg-type]
    return someone, await tokens_of(client, browser.answer["code"], pkce)  # type: ignore[arg-type]
