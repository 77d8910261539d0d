"""Webhooks: an event as it is read from its owner's feed and posted to an endpoint."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import httpx
import msgspec

from services.gateway.messages.rules import sign_all
from services.gateway.webhooks.rules import AttemptResult, Outcome, result_of, retry_after_of
from shared.contracts.resource import owner_of, schema_path
from shared.core import clock
from shared.core.actors import system
from shared.core.settings import Service
from shared.feed.routes import MORE, NEXT, CloudEvent
from shared.http.addresses import AddressForbiddenError, Judge, JudgedTransport
from shared.runtime.context import ServiceContext

BATCH = 200
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


class Event(NamedTuple):
    """One entry of a feed, as endpoints receive it: a CloudEvent in JSON."""

    event_id: str
    type: str
    subject: UUID
    event_version: int
    region: str
    body: str
    cursor: str = ""

    def stored(self) -> dict[str, Any]:
        """The columns of a delivery that hold the event."""
        return {name: value for name, value in self._asdict().items() if name != "cursor"}


class Feed(NamedTuple):
    """One lane of one owner's log."""

    owner: Service
    lane: str


class Batch(NamedTuple):
    """The events after a cursor, and the cursor after them."""

    events: list[Event]
    following: str
    more: bool
    history_truncated: bool = False
    """The cursor was past the owner's retention: events are missing, and `following` is the end of the log."""


class Origin(NamedTuple):
    """How events name this installation: by its public address, or by its id if it has none."""

    address: str
    public_url: str
    installation: UUID

    def source(self, owner: str) -> str:
        """The CloudEvents `source` of a service's events: absolute, and different in every installation."""
        return f"{self.public_url}/{owner}" if self.public_url else uuid5(self.installation, owner).urn

    def event_of(self, entry: CloudEvent) -> Event:
        """An entry of a feed as an event of this installation."""
        members = msgspec.structs.asdict(entry)
        del members["cursor"]  # internal
        members["source"] = self.source(owner_of(entry.type))
        members["dataschema"] = self.address + schema_path(entry.type)
        body = msgspec.json.encode(members).decode()
        return Event(entry.id, entry.type, UUID(entry.subject), entry.version, entry.region, body, entry.cursor)


async def read(
    context: ServiceContext, feed: Feed, after: str, types: Sequence[str], origin: Origin, limit: int = BATCH
) -> Batch:
    """Read the events after a cursor. Raises `Problem` or `httpx.HTTPError`."""
    params = {"types": list(types), "after": after, "lane": feed.lane, "limit": str(limit)}
    response = await context.service_clients.call(feed.owner, "GET", "/internal/feed", system("gateway"), params=params)
    if response.status_code == httpx.codes.GONE:
        return Batch([], await horizon(context, feed.owner), more=True, history_truncated=True)
    response.raise_for_status()
    entries = msgspec.json.decode(response.content, type=list[CloudEvent])
    return Batch([origin.event_of(entry) for entry in entries], response.headers[NEXT], response.headers[MORE] == "1")


async def horizon(context: ServiceContext, owner: Service) -> str:
    """The cursor at the end of an owner's log. Raises `Problem` or `httpx.HTTPError`."""
    response = await context.service_clients.call(owner, "GET", "/internal/horizon", system("gateway"))
    return str(response.raise_for_status().json()["cursor"])


def client_of(tls: ssl.SSLContext, judge: Judge) -> httpx.AsyncClient:
    """The HTTP client of one endpoint.

    Endpoints share no connections, because a connection to one address was verified for the name of one endpoint only,
    and because a slow endpoint must not occupy the connections of others.
    """
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=30)
    return httpx.AsyncClient(
        transport=JudgedTransport(judge, tls, limits),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
        timeout=SECONDS,
    )


async def send(client: httpx.AsyncClient, url: str, secrets: Sequence[str], event_id: str, body: str) -> Outcome:
    """Sign and POST an event. Every fault of the endpoint is an outcome, never an exception."""
    headers = {**HEADERS, **sign_all(secrets, event_id, clock.now(), body)}
    try:
        async with asyncio.timeout(SECONDS):
            request = client.build_request("POST", url, content=body.encode(), headers=headers)
            response = await client.send(request, stream=True)
            async with aclosing(response):
                await _read_a_little(response)
    except AddressForbiddenError:
        return Outcome(AttemptResult.UNAVAILABLE, error="address_forbidden")
    except (TimeoutError, httpx.TimeoutException):
        return Outcome(AttemptResult.UNAVAILABLE, error="timeout")
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, UnicodeError) as error:
        return Outcome(AttemptResult.UNAVAILABLE, error=type(error).__name__)
    wait = retry_after_of(response.headers.get("retry-after"))
    return Outcome(result_of(response.status_code), response.status_code, retry_after_seconds=wait)


async def _read_a_little(response: httpx.Response) -> None:
    """Read a short body to its end, so that the connection can be reused. Stop reading a long one."""
    read_bytes = 0
    async for chunk in response.aiter_raw():
        read_bytes += len(chunk)
        if read_bytes > READ_BYTES:
            return
