"""A person at a browser, as a command: `python -m tests.docs.browser ADDRESS`, named by LOGIN and PASSWORD.

What an application opens is signed in at, with an authenticator set up on the way, and the application is gone back to.
"""

import asyncio
import os
import sys

import httpx

from tests.gateway.signing_in import SECRET, Browser, Person


async def set_password(link: str, password: str, **more: str) -> str:
    """Use a one-time link; what the page says then."""
    async with _browsing(link) as client:
        browser = Browser(client)
        await browser.follow(await client.get(link))
        await browser.submit("set", password=password, again=password, **more)
        return browser.text


async def sign_in(address: str, login: str, password: str) -> None:
    """Sign in for the first time, and let the application know."""
    async with _browsing(address) as client:
        browser = Browser(client)
        await browser.follow(await client.get(address))
        await browser.submit("password", login=login, password=password)
        found = SECRET.search(browser.text)
        assert found is not None, browser.text
        await browser.submit("enrol", code=Person(login, authenticator=found[1]).digits())
        answer = await browser.submit("continue")
        told = await client.get(answer.headers["location"])
        assert told.status_code == 200, told.text


def _browsing(address: str) -> httpx.AsyncClient:
    origin = address.split("/sign-in/")[0]
    return httpx.AsyncClient(base_url=origin, headers={"accept-language": "en"}, timeout=60)


if __name__ == "__main__":
    asyncio.run(sign_in(sys.argv[1], os.environ["LOGIN"], os.environ["PASSWORD"]))
