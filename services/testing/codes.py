"""Codes that samplers scan: read by the gateway's public keys, without asking the gateway for each.

The keys are fetched when they are first needed, again each minute in which codes come, and when a code names a key that
is not known: a new one is published an hour before it signs. While the gateway does not answer, the last keys hold.
"""

import asyncio
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeAlias

import httpx
import structlog
from fastapi import Depends, Request

from shared.code_tokens import BadToken, Fault, Genuine, genuine
from shared.house import House
from shared.problems import Unavailable

WELL_KNOWN = "/.well-known/fangxian-code-keys.json"
FRESH_SECONDS = 60.0
AGAIN_SECONDS = 2.0
"""How soon a failed fetch, or one for the sake of an unknown key, is tried again."""
FETCH_SECONDS = 2.0

IN_BODY = re.compile(rb'"(FX1\.([A-Za-z0-9_-]{6})[A-Za-z0-9_-]{1,190})"')
"""The codes in a batch, and the first six characters of each, which hold the id of its key."""

logger = structlog.get_logger()


class CodeKeys:
    """The public keys of codes, as this process holds them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._keys: Mapping[bytes, bytes] = {}
        self._fetched = self._tried = float("-inf")
        self._turn = asyncio.Lock()

    def read(self, text: str) -> Genuine | Fault:
        """What a code says, whatever its time, or what is wrong with it. Checked signatures are remembered.

        Raises `Unavailable` if no key was ever fetched: a device sends the batch again, and loses nothing.
        """
        if not self._keys:
            raise Unavailable()
        try:
            return genuine(text, self._keys)
        except BadToken as bad:
            return bad.fault

    async def prepare(self, body: bytes) -> None:
        """Have the keys for the codes in a batch, and check the signatures beside the event loop."""
        found = IN_BODY.findall(body)
        if not found and b"token" not in body:
            return
        await self._have({urlsafe_b64decode(start + b"==")[:4] for _, start in found})
        if self._keys:
            await asyncio.to_thread(self._check, [text.decode() for text, _ in found])

    def _check(self, texts: list[str]) -> None:
        for text in texts:
            self.read(text)

    async def _have(self, key_ids: set[bytes]) -> None:
        async with self._turn:
            now = time.monotonic()
            is_fresh = now - self._fetched < FRESH_SECONDS and key_ids <= self._keys.keys()
            if not is_fresh and now - self._tried >= AGAIN_SECONDS:
                self._tried = now
                await self._fetch()

    async def _fetch(self) -> None:
        try:
            answer = await self._house.peers.client("gateway").get(WELL_KNOWN, timeout=FETCH_SECONDS)
            published: list[dict[str, Any]] = answer.raise_for_status().json()["keys"]
            keys = {bytes.fromhex(key["kid"]): urlsafe_b64decode(key["x"] + "=") for key in published}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            logger.warning("code_keys.not_fetched", error=type(error).__name__, held=len(self._keys))
            return
        self._keys, self._fetched = keys, time.monotonic()


@asynccontextmanager
async def codes_at_hand(_: House, request: Request) -> AsyncIterator[None]:
    """Prepare the codes of a batch before its transaction begins: no connection waits for the gateway."""
    codes: CodeKeys = request.app.state.code_keys
    await codes.prepare(await request.body())
    yield


async def _code_keys(request: Request) -> CodeKeys:
    found: CodeKeys = request.app.state.code_keys
    return found


CodeKeysAtHand: TypeAlias = Annotated[CodeKeys, Depends(_code_keys)]
