"""Parties that do not give up: each act is sent again, the same, until it is acknowledged or refused for good."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import httpx
import msgspec
from standardwebhooks.webhooks import Webhook

from shared.core.ids import new_id

PATIENCE_SECONDS = 240.0
FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 1.0
NOT_ACKNOWLEDGED = {429, 502, 503, 504}
"""The answers that ask to try again. A 500 is none: whatever is away or slow has a problem of its own."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """An answer that no repetition changes."""

    def __init__(self, act: str, status: int, body: Any) -> None:
        self.status = status
        self.code = str(body.get("type", "")).rsplit("/", 1)[-1] if isinstance(body, dict) else ""
        super().__init__(f"{act} was answered {status}: {body}")


@dataclass
class Line:
    """The line between all parties and the gateway, and what was seen on it."""

    client: httpx.AsyncClient
    random: Random
    acknowledged: int = 0
    unacknowledged: int = 0
    """Sendings that met a closed door, a broken connection or a 503, and were repeated."""
    internal_errors: list[str] = field(default_factory=list)

    async def send(self, act: str, method: str, path: str, **content: Any) -> httpx.Response:
        """Send an act until it is answered for good."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        wait = FIRST_WAIT_SECONDS
        while True:
            said = await self._try(act, method, path, **content)
            if isinstance(said, httpx.Response):
                self.acknowledged += 1
                return said
            self.unacknowledged += 1
            assert loop.time() < deadline, f"{act} was not acknowledged within {PATIENCE_SECONDS:g} s: {said}"
            await asyncio.sleep(wait * self.random.uniform(0.5, 1.5))
            wait = min(LONGEST_WAIT_SECONDS, wait * 2)

    async def _try(self, act: str, method: str, path: str, **content: Any) -> httpx.Response | str:
        try:
            response = await self.client.request(method, path, **content)
        except httpx.TransportError as error:
            return type(error).__name__
        if response.status_code == 500:
            self.internal_errors.append(f"{act}: {response.text}")
            return response.text
        return response if response.status_code not in NOT_ACKNOWLEDGED else response.text


@dataclass
class Party:
    """Somebody with a token."""

    line: Line
    name: str
    token: str

    async def get(self, path: str, **query: Any) -> Any:
        """Ask for something."""
        return await self._act("GET", path, params=query)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Do something once, however often it has to be sent: by its key, or by the ids within."""
        headers = {"idempotency-key": key or str(new_id())}
        if body is None:
            return await self._act("POST", path, headers=headers)
        headers["content-type"] = "application/json"
        return await self._act("POST", path, content=_encode(body), headers=headers)

    async def upload(self, path: str, name: str, content: bytes) -> Any:
        """Send a file."""
        headers = {"idempotency-key": str(new_id())}
        return await self._act("POST", path, files={"file": (name, content, "text/csv")}, headers=headers)

    async def all_of(self, path: str, **query: Any) -> list[Any]:
        """Every item of a list."""
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=200, **query, **cursor)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def _act(self, method: str, path: str, **content: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token}", "accept-language": "en", **content.pop("headers", {})}
        act = f"{method} {path} of {self.name}"
        response = await self.line.send(act, method, path, headers=headers, **content)
        body = _decode(response.content) if response.content else None
        if not response.is_success:
            raise Refused(act, response.status_code, body)
        return body


async def token(line: Line, role: str, *, colleague: int = 0, **grant: str) -> Party:
    """A party of the development issuer; a `colleague` has the same grant and is another person."""
    name = " ".join([role, *grant.values(), *([str(colleague)] if colleague else [])])
    body = {"role": role, "subject": name.replace(" ", ":"), **grant}
    response = await line.send(f"a token for {name}", "POST", "/gateway/v1/development/tokens", json=body)
    if not response.is_success:
        raise Refused(f"a token for {name}", response.status_code, response.json())
    return Party(line, name, response.json()["access_token"])


async def post_signed(line: Line, source: str, secret: str, message_id: str, body: dict[str, Any]) -> UUID:
    """Post an event of another system, signed; the id it is kept under."""
    content = _encode(body).decode()
    at = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, content),
    }
    path = f"/gateway/v1/hooks/{source}"
    response = await line.send(f"{message_id} of {source}", "POST", path, content=content, headers=headers)
    if not response.is_success:
        raise Refused(f"{message_id} of {source}", response.status_code, response.json())
    return UUID(response.json()["id"])
