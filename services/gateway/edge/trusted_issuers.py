"""Verifies tokens of other trusted issuers, such as the city's. Their keys are found by discovery.

A request never waits for an issuer. For each issuer a task fetches the keys: at the start, every few minutes, and when
a token names an unknown key, but at most once per `AGAIN_SECONDS`, regardless of incoming tokens. An issuer that is
slow, away or wrong affects only its own people.
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
from services.gateway.edge.internal_tokens import LONGEST, MOST_SECONDS, SKEW_SECONDS, Issuer
from shared.core import clock
from shared.core.actors import Actor
from shared.core.settings import Settings, TrustedIssuer
from shared.problems import Unauthenticated, Unavailable

log = structlog.get_logger()

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0
FETCH_SECONDS = 5.0
MOST_BYTES = 256 << 10
CACHE_SIZE = 2_048


class BadIssuerError(Exception):
    """The published documents of an issuer are not valid."""


@dataclass
class ForeignIssuer:
    """One issuer other than the installation's own."""

    trusted: TrustedIssuer
    transport: httpx.AsyncBaseTransport | None = None
    _keys: dict[str, Key] | None = None
    _fetched: float = float("-inf")
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _checked: "OrderedDict[str, tuple[Actor, float, float]]" = field(default_factory=OrderedDict)

    def actor_of(self, token: str) -> Actor:
        """Return the bearer of a token of this issuer. Raises `Unauthenticated`, or `Unavailable` without its keys."""
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
            verified = actor_of_claims(claims, self.trusted, most_seconds=MOST_SECONDS)
        except (JoseError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Unauthenticated() from error
        self._checked[token] = verified
        if len(self._checked) > CACHE_SIZE:
            self._checked.popitem(last=False)
        return verified

    def _key(self, key_id: str) -> Key:
        """Return the key of a key id. An unknown id starts a new fetch of the keys."""
        key = (self._keys or {}).get(key_id)
        if key is not None:
            return key
        if self._keys is None or time.monotonic() - self._fetched > AGAIN_SECONDS:
            self._wanted.set()
            raise Unavailable()
        raise Unauthenticated()

    async def keep_keys(self) -> None:
        """Fetch the keys of the issuer again and again, until cancelled."""
        while True:
            self._wanted.clear()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    keys = await self._fetch()
            except (httpx.HTTPError, TimeoutError, BadIssuerError, JoseError, ValueError, TypeError, KeyError) as error:
                log.warning("issuer.keys_not_fetched", issuer=self.trusted.issuer, error=type(error).__name__)
            else:
                if keys.keys() != (self._keys or {}).keys():
                    self._checked.clear()  # tokens of a withdrawn key are no longer valid
                self._keys = keys
            self._fetched = time.monotonic()
            await asyncio.sleep(AGAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS if self._keys else AGAIN_SECONDS):
                    await self._wanted.wait()

    async def _fetch(self) -> dict[str, Key]:
        async with httpx.AsyncClient(transport=self.transport, trust_env=False, timeout=FETCH_SECONDS) as client:
            discovery = await _json(client, self.trusted.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if discovery.get("issuer") != self.trusted.issuer:
                raise BadIssuerError("the issuer in its document is another one")
            url = httpx.URL(str(discovery["jwks_uri"]))
            if url.scheme != httpx.URL(self.trusted.issuer).scheme:
                raise BadIssuerError("the URL of its keys has another scheme")
            published = keys_of_set(await _json(client, str(url)), self.trusted.algorithm)
        return {key_id: JWKRegistry.import_key(one) for key_id, one in published.items()}


@dataclass
class TrustedIssuers:
    """The issuers whose tokens are accepted."""

    own: Issuer
    foreign: Mapping[str, ForeignIssuer] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Create the own issuer and those in the settings."""
        ended: dict[str, float] = {}
        foreign = {one.issuer: ForeignIssuer(one) for one in settings.issuers}
        return cls(Issuer.from_files(settings.keys, ended), foreign, ended)

    def actor_of(self, token: str) -> Actor:
        """Return the bearer of a token of any trusted issuer."""
        if not self.foreign or self.own.knows(token):
            return self.own.actor_of(token)
        return self._issuer_of(token).actor_of(token)

    def bearer_of(self, token: str) -> Actor | None:
        """Return the bearer of a token of the own issuer, even if expired. Only for counting, not for access."""
        return self.own.bearer_of(token)

    def _issuer_of(self, token: str) -> Issuer | ForeignIssuer:
        peeked = peek(token, LONGEST)
        return self.own if peeked is None else self.foreign.get(peeked.issuer, self.own)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run one task for each other issuer, so that none waits for another."""
        tasks: Sequence[asyncio.Task[None]] = [asyncio.create_task(one.keep_keys()) for one in self.foreign.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Fetch a JSON object of limited size. Redirects are not followed."""
    async with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
        if answer.status_code != 200:
            raise BadIssuerError(f"status {answer.status_code}")
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise BadIssuerError("the document is too large")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise BadIssuerError("the document is not an object")
    return document
