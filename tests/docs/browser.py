"""A person at a browser, as a command: `python -m tests.docs.browser ADDRESS`, named by LOGIN and PASSWORD.

The address is the one that `fangxian sign-in` shows. The person checks the code, signs in and sets up an authenticator.
"""

import asyncio
import os
import re
import sys
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.gateway.signing_in import SECRET, Browser, Person


async def set_password(link: str, password: str, **more: str) -> str:
    """Use a one-time link; what the page says then."""
    async with _browsing(link) as client:
        browser = Browser(client)
        await browser.follow(await client.get(link))
        await browser.submit("set", password=password, again=password, **more)
        return browser.text


async def sign_in(address: str, login: str, password: str) -> list[str]:
    """Let a shell in, at the first sign-in of its owner; the recovery codes that were shown."""
    (code,) = parse_qs(urlsplit(address).query)["user_code"]
    async with _browsing(address) as client:
        browser = Browser(client)
        await browser.follow(await client.get(address))
        assert f'value="{code}"' in browser.text, browser.text
        await browser.submit("look", user_code=code)
        assert f"code {code}" in browser.text, browser.text
        await browser.submit("password", login=login, password=password)
        found = SECRET.search(browser.text)
        assert found is not None, browser.text
        await browser.submit("enrol", code=Person(login, authenticator=found[1]).digits())
        recovery_codes = re.findall(r"<li>([a-z2-7-]+)</li>", browser.text)
        await browser.submit("continue")
        assert "The device is signed in" in browser.text, browser.text
        return recovery_codes


def _browsing(address: str) -> httpx.AsyncClient:
    origin = address.split("/sign-in/")[0]
    return httpx.AsyncClient(base_url=origin, headers={"accept-language": "en"}, timeout=60)


if __name__ == "__main__":
    assert len(asyncio.run(sign_in(sys.argv[1], os.environ["LOGIN"], os.environ["PASSWORD"]))) == 10
