"""Tokens from outside: who signs them, and what they say of their bearer.

A token is a JWT (RFC 7519) signed with Ed25519 by the installation's own issuer. Its claims name one role and one
scope; the edge exchanges it for an internal token before anything goes further.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared import clock
from shared.actors import Actor, Role
from shared.problems import Unauthenticated
from shared.regions import NOTHING, range_of

ISSUER = "fangxian"
AUDIENCE = "fangxian"
ALGORITHM = "Ed25519"
"""Pinned (RFC 9864): whatever else a token's header names is refused before a key is looked at."""

MOST_SECONDS = 12 * 3600
SKEW_SECONDS = 5
LONGEST = 4_096
CACHE_SIZE = 8_192


@dataclass
class Issuer:
    """Makes and checks the tokens that people and machines carry."""

    key: OKPKey
    _checked: "OrderedDict[str, tuple[Actor, int, int]]" = field(default_factory=OrderedDict)

    @classmethod
    def from_files(cls, keys: Path) -> Self:
        """Read `issuer.jwk` from a directory."""
        return cls(OKPKey.import_key(json.loads((keys / "issuer.jwk").read_text())))

    @property
    def public(self) -> dict[str, Any]:
        """The public key, as `/.well-known/jwks.json` shows it."""
        return {**self.key.as_dict(private=False), "kid": self.key.kid, "use": "sig", "alg": ALGORITHM}

    def issue(self, actor: Actor, region: str | None, lifetime_seconds: int) -> str:
        """A token for an actor; `region` is the scope its range is made from again, None for no range."""
        now = int(clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": actor.subject,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime_seconds,
            "role": actor.role.label,
            "region": region,
            "residents": [str(resident) for resident in actor.residents],
            "party": actor.party,
        }
        header = {"alg": ALGORITHM, "kid": self.key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, self.key, algorithms=[ALGORITHM])

    def actor_of(self, token: str) -> Actor:
        """The bearer of a token. Raises `Unauthenticated`; a token once found good is remembered until it ends."""
        known = self._checked.get(token) or self._check(token)
        actor, not_before, expires = known
        if not not_before - SKEW_SECONDS <= clock.seconds() < expires:
            self._checked.pop(token, None)
            raise Unauthenticated()
        return actor

    def _check(self, token: str) -> tuple[Actor, int, int]:
        if len(token) > LONGEST:
            raise Unauthenticated()
        try:
            claims = jwt.decode(token, self.key, algorithms=[ALGORITHM]).claims
            if claims["iss"] != ISSUER or claims["aud"] != AUDIENCE:
                raise Unauthenticated()
            not_before, expires = int(claims["nbf"]), int(claims["exp"])
            found = (_actor(claims), not_before, expires)
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unauthenticated() from error
        if found[0].role is Role.SERVICE or expires - not_before > MOST_SECONDS:
            raise Unauthenticated()
        self._checked[token] = found
        if len(self._checked) > CACHE_SIZE:
            self._checked.popitem(last=False)
        return found


def _actor(claims: Mapping[str, Any]) -> Actor:
    region = claims["region"]
    return Actor(
        subject=str(claims["sub"]),
        role=Role.named(claims["role"]),
        range=NOTHING if region is None else range_of(region),
        residents=tuple(UUID(resident) for resident in claims["residents"]),
        party=str(claims["party"]),
    )
