"""Access tokens of the installation's own issuer: signing and verification.

A token is a JWT (RFC 7519) signed with Ed25519. Its claims contain one role and one scope. The edge exchanges it for an
internal token before it forwards a request.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.regions import NOTHING, range_of
from shared.crypto import key_files
from shared.crypto.key_files import Version, Watched
from shared.problems import Unauthenticated

ISSUER = "fangxian"
AUDIENCE = "fangxian"
ALGORITHM = "Ed25519"
"""The only accepted algorithm (RFC 9864). A token with another one is refused before a key is used."""

MOST_SECONDS = 12 * 3600
SKEW_SECONDS = 5
LONGEST = 4_096
CACHE_SIZE = 8_192


class Known(NamedTuple):
    """The content of a verified token."""

    actor: Actor
    not_before: float
    expires: float
    session: str
    issued: float


@dataclass
class Issuer:
    """Issues and verifies the tokens of people and machines."""

    key: OKPKey
    ended: Mapping[str, float] = field(default_factory=dict)
    """Ended sessions and subjects: their tokens issued up to this instant are no longer valid."""
    _checked: "OrderedDict[str, Known]" = field(default_factory=OrderedDict)
    _trusted: KeySet | None = None
    _file: Path | None = None
    _versions: Sequence[Version] = ()
    _watched: Watched | None = None

    @classmethod
    def from_files(cls, keys: Path, ended: Mapping[str, float] | None = None) -> Self:
        """Read `issuer.jwk` from a directory."""
        file = keys / "issuer.jwk"
        versions = key_files.read(file)
        issuer = cls(_imported(key_files.in_use(versions, key_files.now())), {} if ended is None else ended)
        issuer._file, issuer._versions, issuer._watched = file, versions, Watched(file)
        issuer._trusted = _set_of(versions)
        return issuer

    def refresh(self) -> None:
        """Reload the keys and switch to the current one. Old keys stay trusted until their last token has expired."""
        if self._file is None or self._watched is None:
            return
        if self._watched.changed():
            self._versions = key_files.read(self._file)
        self.key = _imported(key_files.in_use(self._versions, key_files.now()))
        trusted = _set_of(self._versions)
        gone = {key.kid for key in (self._trusted.keys if self._trusted else ())} - {key.kid for key in trusted.keys}
        if gone:
            self._checked.clear()
        self._trusted = trusted

    @property
    def public(self) -> list[dict[str, Any]]:
        """The public keys for `/.well-known/jwks.json`. The next key is included before it signs."""
        keys = self._trusted.keys if self._trusted else [self.key]
        return [{**key.as_dict(private=False), "kid": key.kid, "use": "sig", "alg": ALGORITHM} for key in keys]

    def issue(self, actor: Actor, region: str | None, lifetime_seconds: int, session: UUID | None = None) -> str:
        """Issue a token for an actor. `region` is its scope; None for an actor without a region."""
        now = clock.now().timestamp()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": actor.subject,
            "iat": int(now),
            "iat_ms": int(now * 1_000),
            "nbf": int(now),
            "exp": int(now) + lifetime_seconds,
            "role": actor.role.label,
            "region": region,
            "residents": [str(resident) for resident in actor.residents],
            "party": actor.party,
            **({} if session is None else {"sid": str(session)}),
        }
        header = {"alg": ALGORITHM, "kid": self.key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, self.key, algorithms=[ALGORITHM])

    def knows(self, token: str) -> bool:
        """Whether a token is in the cache of verified tokens."""
        return token in self._checked

    def actor_of(self, token: str) -> Actor:
        """Return the bearer of a token. Raises `Unauthenticated`. Verified tokens are cached until they expire."""
        return self.known(token).actor

    def bearer_of(self, token: str) -> Actor | None:
        """Return the bearer of a token of this issuer, even if expired. Only for counting, not for access."""
        try:
            return (self._checked.get(token) or self._check(token)).actor
        except Unauthenticated:
            return None

    def session_of(self, token: str) -> UUID | None:
        """Return the session of a valid token of this issuer, or None."""
        try:
            session = self.known(token).session
            return UUID(session) if session else None
        except (Unauthenticated, ValueError):
            return None

    def known(self, token: str) -> Known:
        """Return the content of a valid token. Raises `Unauthenticated`."""
        verified = self._checked.get(token) or self._check(token)
        actor, not_before, expires, session, issued = verified
        if not not_before - SKEW_SECONDS <= clock.seconds() < expires:
            self._checked.pop(token, None)
            raise Unauthenticated()
        if session and self.ended and issued <= max(self.ended.get(session, 0), self.ended.get(actor.subject, 0)):
            raise Unauthenticated()
        return verified

    def _check(self, token: str) -> Known:
        if len(token) > LONGEST:
            raise Unauthenticated()
        try:
            claims = jwt.decode(token, self._trusted or self.key, algorithms=[ALGORITHM]).claims
            if claims["iss"] != ISSUER or claims["aud"] != AUDIENCE:
                raise Unauthenticated()
            not_before, expires = int(claims["nbf"]), int(claims["exp"])
            verified = Known(_actor(claims), not_before, expires, str(claims.get("sid", "")), _issued(claims))
        except (JoseError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Unauthenticated() from error
        if verified.actor.role is Role.SERVICE or expires - not_before > MOST_SECONDS:
            raise Unauthenticated()
        self._checked[token] = verified
        if len(self._checked) > CACHE_SIZE:
            self._checked.popitem(last=False)
        return verified


def _imported(version: Version) -> OKPKey:
    times = ("nbf", "exp")
    return OKPKey.import_key({name: value for name, value in version.jwk.items() if name not in times})


def _set_of(versions: Sequence[Version]) -> KeySet:
    return KeySet([_imported(version) for version in key_files.trusted(versions, key_files.now())])


def seconds_until(end: datetime | None, most: int) -> int:
    """Return the lifetime of a token in seconds: at most `most`, and not longer than until `end`."""
    return most if end is None else max(0, min(most, int((end - clock.now()).total_seconds())))


def _issued(claims: Mapping[str, Any]) -> float:
    """Return when a token was issued. Milliseconds are needed if a session ends and begins within the same second."""
    return float(claims["iat_ms"]) / 1_000 if "iat_ms" in claims else float(claims["iat"])


def _actor(claims: Mapping[str, Any]) -> Actor:
    region = claims["region"]
    return Actor(
        subject=str(claims["sub"]),
        role=Role.named(claims["role"]),
        range=NOTHING if region is None else range_of(region),
        residents=tuple(UUID(resident) for resident in claims["residents"]),
        party=str(claims["party"]),
    )
