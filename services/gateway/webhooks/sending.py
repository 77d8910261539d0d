"""Sending one event to one endpoint, and what it answered."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from uuid import UUID

import httpx

from services.gateway.messages.rules import sign_all
from services.gateway.webhooks.rules import Kind, Outcome, kind_of, retry_after_of
from shared import clock
from shared.http.addresses import AddressForbiddenError, Judge, JudgedTransport

IN_FLIGHT = 8
SECONDS = 15.0
"""How long one attempt may take. Standard Webhooks 1.0 recommends 15 to 30 seconds."""
READ_BYTES = 4 << 10

HEADERS = {
    "content-type": "application/cloudevents+json",
    "user-agent": "fangxian-webhooks/1",
    "accept": "*/*",
    "accept-encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a feed, as it is sent: a CloudEvent in JSON."""

    event_id: str
    type: str
    subject: UUID
    version: int
    region: str
    body: str
    cursor: str = ""


def client_of(tls: ssl.SSLContext, judge: Judge) -> httpx.AsyncClient:
    """The connections to one endpoint: its own, so that a slow one takes none of another's."""
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=30)
    return httpx.AsyncClient(
        transport=JudgedTransport(judge, tls, limits),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
        timeout=SECONDS,
    )


async def send(client: httpx.AsyncClient, url: str, secrets: Sequence[str], event: Event) -> Outcome:
    """POST an event, signed. Never raises for what the other side does."""
    headers = {**HEADERS, **sign_all(secrets, event.event_id, clock.now(), event.body)}
    try:
        async with asyncio.timeout(SECONDS):
            request = client.build_request("POST", url, content=event.body.encode(), headers=headers)
            response = await client.send(request, stream=True)
            async with aclosing(response):
                await _read_a_little(response)
    except AddressForbiddenError:
        return Outcome(Kind.UNAVAILABLE, error="address_forbidden")
    except (TimeoutError, httpx.TimeoutException):
        return Outcome(Kind.UNAVAILABLE, error="timeout")
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, UnicodeError) as error:
        return Outcome(Kind.UNAVAILABLE, error=type(error).__name__)
    wait = retry_after_of(response.headers.get("retry-after"))
    return Outcome(kind_of(response.status_code), response.status_code, retry_after_seconds=wait)


async def _read_a_little(response: httpx.Response) -> None:
    """Read a short body to its end, so that the connection can be used again; leave a long one."""
    read = 0
    async for chunk in response.aiter_raw():
        read += len(chunk)
        if read > READ_BYTES:
            return
