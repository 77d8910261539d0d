"""Internal tokens: for 60 seconds, one audience and one actor. The edge exchanges the caller's token for one of them.

Each service signs with its own Ed25519 key and knows the public keys of all (`services.jwks`). Only the gateway may
issue tokens for people and machines. Other services issue tokens only for themselves. The id of a key is the name of
its service; after a rotation a dot and a suffix follow.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from shared.core.actors import Actor, Role
from shared.core.settings import Service
from shared.crypto import key_files
from shared.crypto.key_files import Version, Watched
from shared.problems import Unauthenticated

LIFETIME_SECONDS = 60
ALGORITHM = "Ed25519"
CACHE_SIZE = 4096


@dataclass
class Signer:
    """Issues this service's internal tokens and verifies those of other services."""

    service: Service
    own: OKPKey
    public: KeySet
    _checked: "OrderedDict[str, tuple[Actor, float]]" = field(default_factory=OrderedDict)
    _made: "OrderedDict[tuple[Actor, Service], tuple[str, float]]" = field(default_factory=OrderedDict)
    _files: tuple[Path, Path] | None = None
    _versions: tuple[Sequence[Version], Sequence[Version]] = ((), ())
    _watched: Watched | None = None

    @classmethod
    def from_files(cls, service: Service, keys: Path) -> Self:
        """Read `own.jwk` and `services.jwks` from a directory. `refresh` reads them again when they change."""
        files = keys / "own.jwk", keys / "services.jwks"
        versions = key_files.read(files[0]), key_files.read(files[1])
        own, public = _imported(*versions)
        signer = cls(service, own, public)
        signer._files, signer._versions, signer._watched = files, versions, Watched(*files)
        return signer

    def refresh(self) -> None:
        """Read changed files, and select the signing key and the trusted keys by the current time."""
        if self._files is None or self._watched is None:
            return
        if self._watched.changed():
            self._versions = key_files.read(self._files[0]), key_files.read(self._files[1])
        self.own, self.public = _imported(*self._versions)

    def token_for(self, audience: Service, actor: Actor) -> str:
        """Return a token for `actor` at another service that is valid for at least half of its lifetime."""
        # The request id is sent in its own header, so that one token can be reused for a caller's requests.
        actor = actor.during("")
        now = time.time()
        made = self._made.get((actor, audience))
        if made and made[1] > now + LIFETIME_SECONDS / 2:
            return made[0]
        expires = now + LIFETIME_SECONDS
        header = {"alg": ALGORITHM, "kid": self.own.kid or self.service}
        claims = {"iss": self.service, "aud": audience, "exp": int(expires), **actor.claims()}
        token = jwt.encode(header, claims, self.own, algorithms=[ALGORITHM])
        _remember(self._made, (actor, audience), (token, expires))
        return token

    def actor_of(self, token: str) -> Actor:
        """Verify a token for this service and return its actor. Raises `Unauthenticated`."""
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
            if str(decoded.header.get("kid")).partition(".")[0] != claims["iss"]:
                raise Unauthenticated()
            actor = Actor.claimed(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated() from error
        if claims["iss"] != "gateway" and actor.role is not Role.SERVICE:
            raise Unauthenticated()
        _remember(self._checked, token, (actor, expires))
        return actor


def _imported(own: Sequence[Version], public: Sequence[Version]) -> tuple[OKPKey, KeySet]:
    now = key_files.now()
    trusted = [dict(version.jwk) for version in key_files.trusted(public, now)]
    return OKPKey.import_key(dict(key_files.in_use(own, now).jwk)), KeySet.import_key_set({"keys": trusted})


def _remember(cache: "OrderedDict[Any, Any]", key: Any, value: Any) -> None:
    cache[key] = value
    if len(cache) > CACHE_SIZE:
        cache.popitem(last=False)
