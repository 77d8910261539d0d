"""The parties of the demo. Each has its own token and knows only the address of the gateway."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import msgspec

from shared.core.ids import new_id

TIMEOUT_SECONDS = 60
ATTEMPTS = 6
MOST_PER_PAGE = 200
BUSY = {429, 503}

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """An answer that is no success: its status and its problem's code."""

    def __init__(self, request: str, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        self.code = str(body.get("type", "")).rsplit("/", 1)[-1] if isinstance(body, Mapping) else ""
        super().__init__(f"{request} answered {status}: {body}")


@dataclass(frozen=True)
class Party:
    """Somebody with a token."""

    client: httpx.AsyncClient
    name: str
    token: str

    async def get(self, path: str, **query: Any) -> Any:
        """Ask for something."""
        return await self.send("GET", path, params={name: value for name, value in query.items() if value is not None})

    async def post(self, path: str, body: Any = None, *, once: bool = False) -> Any:
        """Do something. `once` gives the act a key, so that it may be repeated without being done twice."""
        headers = {"Idempotency-Key": str(new_id())} if once else {}
        if body is None:
            return await self.send("POST", path, headers=headers)
        headers["Content-Type"] = "application/json"
        return await self.send("POST", path, content=_encode(body), headers=headers)

    async def upload(self, path: str, file: tuple[str, bytes, str], **fields: str) -> Any:
        """Send a file as a form."""
        headers = {"Idempotency-Key": str(new_id())}
        return await self.send("POST", path, files={"file": file}, data=fields, headers=headers)

    async def send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any) -> Any:
        """Any request. Waits as long as a busy server asks; raises `Refused` for whatever is no success."""
        sent = {"Authorization": f"Bearer {self.token}", "Accept-Language": "en", **(headers or {})}
        for attempt in range(1, ATTEMPTS + 1):
            response = await self.client.request(method, path, headers=sent, **content)
            if response.status_code not in BUSY or attempt == ATTEMPTS:
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
        body = _body(response)
        if response.is_success:
            return body
        raise Refused(f"{method} {path} as {self.name}", response.status_code, body)

    async def items(self, path: str, **query: Any) -> AsyncIterator[Any]:
        """Every item of a list, page by page."""
        cursor = None
        while True:
            page = await self.get(path, cursor=cursor, limit=MOST_PER_PAGE, **query)
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return


def _body(response: httpx.Response) -> Any:
    if "json" not in response.headers.get("content-type", ""):
        return response.text
    return _decode(response.content) if response.content else None


@dataclass(frozen=True)
class Parties:
    """Gives out tokens by the development issuer, as the embedded default has it."""

    client: httpx.AsyncClient

    async def staff(self, role: str, region: str) -> Party:
        """Somebody of the field, who answers for a region."""
        return await self._party(role, f"{role} of {region}", region=region)

    async def machine(self, role: str, party: str, region: str = "") -> Party:
        """A laboratory, the 120 desk, a hospital, or the device of a door (whose party is its service point)."""
        return await self._party(role, party, party=party, **({"region": region} if region else {}))

    async def register_laboratory(self, party: str) -> None:
        """Register a laboratory's client, if there is none: tubes are sealed only for laboratories that exist."""
        # A party is known in every region: who commands all registers it.
        whole = await self.staff("command", "")
        client = {"client_id": party, "kind": "machine", "name": party, "region": "", "role": "laboratory"}
        try:
            await whole.post("/gateway/v1/clients", client | {"party": party}, once=True)
        except Refused as refused:
            if refused.code != "client_taken":
                raise

    async def resident(self, resident_id: UUID | str) -> Party:
        """A resident, with nothing but their own code and samples."""
        return await self._party("resident", f"resident {resident_id}", resident_id=str(resident_id))

    async def _party(self, role: str, name: str, **grant: str) -> Party:
        body = {"role": role, "subject": name.replace(" ", "-"), **grant}
        response = await self.client.post("/gateway/v1/development/tokens", json=body)
        if not response.is_success:
            raise Refused(f"a token for {name}", response.status_code, _body(response))
        answer = response.json()
        return Party(self.client, name, answer.get("token") or answer["access_token"])


@asynccontextmanager
async def parties_at(url: str) -> AsyncIterator[Parties]:
    """The parties of a gateway."""
    limits = httpx.Limits(max_connections=40, max_keepalive_connections=40)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:
        yield Parties(client)
