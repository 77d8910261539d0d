"""Trust in other issuers: the city's, a mini-program's. Found by discovery, checked by their published keys.

A request never waits for an issuer. One task for each fetches its keys: at the start, every few minutes, and when a
token names a key that is not known, but never more often than `AGAIN_SECONDS`, whoever sends whatever. An issuer that
is slow, away or answers nonsense keeps only its own people waiting.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from services.gateway.edge.foreign_rules import actor_of_claims, keys_of_set, peek
from services.gateway.edge.own_tokens import LONGEST, MOST_SECONDS, SKEW_SECONDS, Issuer
from shared import clock
from shared.actors import Actor
from shared.problems import Unauthenticated, Unavailable
from shared.settings import Settings, TrustedIssuer

log = structlog.get_logger()

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0
FETCH_SECONDS = 5.0
MOST_BYTES = 256 << 10
CACHE_SIZE = 2_048


class BadIssuerError(Exception):
    """What an issuer publishes of itself cannot be used."""


@dataclass
class ForeignIssuer:
    """One issuer beside our own."""

    trusted: TrustedIssuer
    transport: httpx.AsyncBaseTransport | None = None
    _keys: dict[str, Key] | None = None
    _fetched: float = float("-inf")
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _checked: "OrderedDict[str, tuple[Actor, float, float]]" = field(default_factory=OrderedDict)

    def actor_of(self, token: str) -> Actor:
        """The bearer of one of its tokens. Raises `Unauthenticated`, or `Unavailable` while its keys are not here."""
        actor, not_before, expires = self._checked.get(token) or self._check(token)
        if not not_before - SKEW_SECONDS <= clock.now().timestamp() < expires + SKEW_SECONDS:
            self._checked.pop(token, None)
            raise Unauthenticated()
        return actor

    def _check(self, token: str) -> tuple[Actor, float, float]:
        peeked = peek(token, LONGEST)
        if peeked is None or peeked.algorithm != self.trusted.algorithm:
            raise Unauthenticated()
        key = self._key(peeked.key_id)
        try:
            claims = jwt.decode(token, key, algorithms=[self.trusted.algorithm]).claims
            found = actor_of_claims(claims, self.trusted, most_seconds=MOST_SECONDS)
        except (JoseError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Unauthenticated() from error
        self._checked[token] = found
        if len(self._checked) > CACHE_SIZE:
            self._checked.popitem(last=False)
        return found

    def _key(self, key_id: str) -> Key:
        """The key of an id, which is a name to look up and nothing else."""
        key = (self._keys or {}).get(key_id)
        if key is not None:
            return key
        if self._keys is None or time.monotonic() - self._fetched > AGAIN_SECONDS:
            self._wanted.set()
            raise Unavailable()
        raise Unauthenticated()

    async def keep_keys(self) -> None:
        """Fetch its keys, for as long as the process lives."""
        while True:
            self._wanted.clear()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    found = await self._fetch()
            except (httpx.HTTPError, TimeoutError, BadIssuerError, JoseError, ValueError, TypeError, KeyError) as error:
                log.warning("issuer.keys_not_fetched", issuer=self.trusted.issuer, error=type(error).__name__)
            else:
                if found.keys() != (self._keys or {}).keys():
                    self._checked.clear()  # a token of a key that was withdrawn no longer holds
                self._keys = found
            self._fetched = time.monotonic()
            await asyncio.sleep(AGAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS if self._keys else AGAIN_SECONDS):
                    await self._wanted.wait()

    async def _fetch(self) -> dict[str, Key]:
        async with httpx.AsyncClient(transport=self.transport, trust_env=False, timeout=FETCH_SECONDS) as client:
            said = await _json(client, self.trusted.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if said.get("issuer") != self.trusted.issuer:
                raise BadIssuerError("it calls itself otherwise")
            place = httpx.URL(str(said["jwks_uri"]))
            if place.scheme != httpx.URL(self.trusted.issuer).scheme:
                raise BadIssuerError("its keys lie behind another scheme")
            published = keys_of_set(await _json(client, str(place)), self.trusted.algorithm)
        return {key_id: JWKRegistry.import_key(one) for key_id, one in published.items()}


@dataclass
class Trust:
    """Whose tokens are taken."""

    own: Issuer
    foreign: Mapping[str, ForeignIssuer] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Our own issuer, and those the settings name."""
        ended: dict[str, float] = {}
        foreign = {one.issuer: ForeignIssuer(one) for one in settings.issuers}
        return cls(Issuer.from_files(settings.keys, ended), foreign, ended)

    def actor_of(self, token: str) -> Actor:
        """The bearer of a token of anybody who is trusted."""
        if not self.foreign or self.own.knows(token):
            return self.own.actor_of(token)
        return self._issuer_of(token).actor_of(token)

    def bearer_of(self, token: str) -> Actor | None:
        """The bearer of a token of our own issuer, also if it has ended. For counting only: it opens nothing."""
        return self.own.bearer_of(token)

    def _issuer_of(self, token: str) -> Issuer | ForeignIssuer:
        peeked = peek(token, LONGEST)
        return self.own if peeked is None else self.foreign.get(peeked.issuer, self.own)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With a task for each other issuer, so that none waits for another."""
        tasks: Sequence[asyncio.Task[None]] = [asyncio.create_task(one.keep_keys()) for one in self.foreign.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A JSON object of another's, no longer than it needs to be. Redirects are not followed."""
    async with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
        if answer.status_code != 200:
            raise BadIssuerError(f"it answers {answer.status_code}")
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise BadIssuerError("it says too much")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise BadIssuerError("it says something else")
    return found
