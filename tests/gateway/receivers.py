"""Receivers of webhooks as others would write them, and what is told to them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
from standardwebhooks import Webhook, WebhookVerificationError

from services.gateway.webhooks import delivery
from shared.contracts.registry import Region
from shared.contracts.resource import Resource
from tests.harness import District

REGION = "registry.region.v1"


class Deliverer(delivery.Deliverer):
    """A worker's deliverer that can be run until nothing is left."""

    async def rest(self) -> int:
        """Look and serve until there is nothing to do; how many events were sent."""
        total = 0
        while due := await self.look():
            sent = sum(await asyncio.gather(*(self.serve(endpoint_id) for endpoint_id in due)))
            if not sent:
                return total
            total += sent
        return total


Answer = Callable[[dict[str, Any]], Awaitable[int] | int]


@dataclass
class Receiver:
    """A receiver as others would write it: an HTTP server that verifies with the published library."""

    secrets: list[str] = field(default_factory=list)
    answer: Answer = lambda event: 204
    headers: str = ""
    body: bytes = b""
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bad: int = 0
    cut_off: int = 0
    """Connections that ended before all was said."""
    at_once: int = 0
    most_at_once: int = 0
    verifies: bool = True
    port: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int) -> None:
        """Wait until so many events have come."""
        while len(self.got) < count:
            self.arrived.clear()
            await self.arrived.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def versions(self) -> list[int]:
        return [event["version"] for event in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except asyncio.IncompleteReadError:
            pass
        except ConnectionError:
            self.cut_off += 1
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            status = await self._take(headers, body)
        finally:
            self.at_once -= 1
        if status == 0:
            return False
        said = f"HTTP/1.1 {status} X\r\n{self.headers}content-length: {len(self.body)}\r\n\r\n".encode() + self.body
        writer.write(said)
        await writer.drain()
        return True

    async def _take(self, headers: dict[str, str], body: bytes) -> int:
        if self.verifies and not self._is_genuine(headers, body):
            self.bad += 1
            return 401
        event = json.loads(body)
        answered = self.answer(event)
        status = answered if isinstance(answered, int) else await answered
        if status in range(200, 300) or status == 0:
            self.got.append(event)
            self.ids.append(headers["webhook-id"])
            self.arrived.set()
        return status

    def _is_genuine(self, headers: dict[str, str], body: bytes) -> bool:
        for secret in self.secrets:
            try:
                Webhook(secret).verify(body, headers)
            except WebhookVerificationError:
                continue
            return True
        return False


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Let a receiver listen; on the same port as before, if it did."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", receiver.port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for writer in list(receiver.writers):
            writer.transport.abort()


async def endpoint(command: httpx.AsyncClient, receiver: Receiver, **changed: Any) -> dict[str, Any]:
    new = {"url": receiver.url, "types": [REGION], "region": "350582005", **changed}
    made = await command.post("/gateway/v1/webhooks", json=new)
    assert made.status_code == 201, made.text
    receiver.secrets.append(made.json()["secret"])
    return dict(made.json())


def region(id_: UUID | None = None, version: int = 1, code: str = "35058200500101") -> Region:
    return Region(id=id_ or uuid4(), version=version, region=code, name="一", level="patch")


async def publish(district: District, *resources: Resource, urgent: bool = False, owner: str = "registry") -> None:
    async with district.contexts[owner].system_unit_of_work() as uow:
        uow.publish_all(resources, change="tested", urgent=urgent)
    await district.until_served()


async def publish_and_deliver(
    district: District, deliverer: Deliverer, *resources: Resource, urgent: bool = False, owner: str = "registry"
) -> int:
    """Publish, and deliver until nothing is left; how many were delivered."""
    await publish(district, *resources, urgent=urgent, owner=owner)
    return await deliverer.rest()


async def shown(command: httpx.AsyncClient, made: dict[str, Any]) -> dict[str, Any]:
    return dict((await command.get(f"/gateway/v1/webhooks/{made['id']}")).json())


async def deliveries(command: httpx.AsyncClient, made: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    return list((await command.get(f"/gateway/v1/webhooks/{made['id']}/deliveries", params=query)).json()["items"])


async def slowly(_: dict[str, Any], seconds: float, status: int = 204) -> int:
    await asyncio.sleep(seconds)
    return status
