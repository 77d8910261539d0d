"""Verifies the codes that samplers scan with the gateway's public keys, without a request to the gateway for each.

The keys are fetched when they are first needed, again once a minute while codes arrive, and when a code names an
unknown key. The gateway publishes a new key an hour before it signs with it. While the gateway does not answer, the
last keys stay in use.
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

from shared.crypto.code_tokens import BadToken, Fault, Genuine, genuine
from shared.problems import Unavailable
from shared.runtime.context import ServiceContext

WELL_KNOWN = "/.well-known/fangxian-code-keys.json"
FRESH_SECONDS = 60.0
AGAIN_SECONDS = 2.0
"""Minimum time between two fetches, after a failure or because of an unknown key."""
FETCH_SECONDS = 2.0

IN_BODY = re.compile(rb'"(FX1\.([A-Za-z0-9_-]{6})[A-Za-z0-9_-]{1,190})"')
"""Matches the codes in a batch. Group 2 is the first six characters of the payload, which hold the key's id."""

logger = structlog.get_logger()


class CodeKeys:
    """The public keys of codes in this process."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._keys: Mapping[bytes, bytes] = {}
        self._fetched = self._tried = float("-inf")
        self._turn = asyncio.Lock()

    def read(self, text: str) -> Genuine | Fault:
        """Return the content of a code, whatever its time, or its fault. Verified signatures are cached.

        Raises `Unavailable` if no key was ever fetched: the device then sends the batch again and loses nothing.
        """
        if not self._keys:
            raise Unavailable()
        try:
            return genuine(text, self._keys)
        except BadToken as bad:
            return bad.fault

    async def prepare(self, body: bytes) -> None:
        """Fetch the keys for the codes in a batch, and verify the signatures in a thread."""
        matches = IN_BODY.findall(body)
        if not matches and b"token" not in body:
            return
        await self._have({urlsafe_b64decode(start + b"==")[:4] for _, start in matches})
        if self._keys:
            await asyncio.to_thread(self._check, [text.decode() for text, _ in matches])

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
            answer = await self._context.service_clients.client("gateway").get(WELL_KNOWN, timeout=FETCH_SECONDS)
            published: list[dict[str, Any]] = answer.raise_for_status().json()["keys"]
            keys = {bytes.fromhex(key["kid"]): urlsafe_b64decode(key["x"] + "=") for key in published}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            logger.warning("code_keys.not_fetched", error=type(error).__name__, held=len(self._keys))
            return
        self._keys, self._fetched = keys, time.monotonic()


@asynccontextmanager
async def codes_at_hand(_: ServiceContext, request: Request) -> AsyncIterator[None]:
    """Prepare the codes of a batch before its transaction begins, so that no connection waits for the gateway."""
    codes: CodeKeys = request.app.state.code_keys
    await codes.prepare(await request.body())
    yield


async def _code_keys(request: Request) -> CodeKeys:
    keys: CodeKeys = request.app.state.code_keys
    return keys


CodeKeysAtHand: TypeAlias = Annotated[CodeKeys, Depends(_code_keys)]
