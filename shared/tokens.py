"""Internal tokens: 60 seconds, one audience, one actor. The edge exchanges the caller's token for one of these.

Each service signs with an Ed25519 key of its own and knows the public keys of all (`services.jwks`). Only the gateway
may speak for people and machines; any other service speaks for itself.
"""

import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from shared.actors import Actor, Role
from shared.problems import Unauthenticated
from shared.settings import Service

LIFETIME_SECONDS = 60
ALGORITHM = "Ed25519"
CACHE_SIZE = 4096


@dataclass
class Signer:
    """Makes this service's internal tokens and checks those of the others."""

    service: Service
    own: OKPKey
    public: KeySet
    _checked: "OrderedDict[str, tuple[Actor, float]]" = field(default_factory=OrderedDict)
    _made: "OrderedDict[tuple[Actor, Service], tuple[str, float]]" = field(default_factory=OrderedDict)

    @classmethod
    def from_files(cls, service: Service, keys: Path) -> Self:
        """Read `own.jwk` and `services.jwks` from a directory."""
        own = OKPKey.import_key(json.loads((keys / "own.jwk").read_text()))
        return cls(service, own, KeySet.import_key_set(json.loads((keys / "services.jwks").read_text())))

    def token_for(self, audience: Service, actor: Actor) -> str:
        """A token that lets `actor` act at another service, good for at least half its lifetime."""
        # The request id travels in its own header, so that one token serves a caller's requests for a while.
        actor = actor.during("")
        now = time.time()
        made = self._made.get((actor, audience))
        if made and made[1] > now + LIFETIME_SECONDS / 2:
            return made[0]
        expires = now + LIFETIME_SECONDS
        header = {"alg": ALGORITHM, "kid": self.service}
        token = jwt.encode(header, _claims(self.service, audience, actor, expires), self.own, algorithms=[ALGORITHM])
        _remember(self._made, (actor, audience), (token, expires))
        return token

    def actor_of(self, token: str) -> Actor:
        """The actor of a token addressed to this service. Raises `Unauthenticated`."""
        known = self._checked.get(token)
        now = time.time()
        if known:
            if known[1] < now:
                raise Unauthenticated()
            return known[0]
        try:
            decoded = jwt.decode(token, self.public, algorithms=[ALGORITHM])
            claims = decoded.claims
            expires = float(claims["exp"])
            if claims["aud"] != self.service or not now < expires <= now + LIFETIME_SECONDS + 5:
                raise Unauthenticated()
            if decoded.header.get("kid") != claims["iss"]:
                raise Unauthenticated()
            actor = _actor(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated() from error
        if claims["iss"] != "gateway" and actor.role is not Role.SERVICE:
            raise Unauthenticated()
        _remember(self._checked, token, (actor, expires))
        return actor


def _claims(issuer: str, audience: str, actor: Actor, expires: float) -> dict[str, Any]:
    return {
        "iss": issuer,
        "aud": audience,
        "exp": int(expires),
        "sub": actor.subject,
        "role": actor.role.label,
        "range": list(actor.range),
        "residents": [str(resident) for resident in actor.residents],
        "party": actor.party,
        "purpose": actor.purpose,
    }


def _actor(claims: dict[str, Any]) -> Actor:
    low, high = claims["range"]
    return Actor(
        subject=claims["sub"],
        role=Role.named(claims["role"]),
        range=(low, high),
        residents=tuple(UUID(resident) for resident in claims["residents"]),
        party=claims["party"],
        purpose=claims["purpose"],
    )


def _remember(cache: "OrderedDict[Any, Any]", key: Any, value: Any) -> None:
    cache[key] = value
    if len(cache) > CACHE_SIZE:
        cache.popitem(last=False)
