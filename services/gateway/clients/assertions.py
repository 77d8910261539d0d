"""Client assertions (RFC 7523, `private_key_jwt`): a machine proves itself by a JWT that its own key has signed. Pure.

They are taken as the common libraries make them: `kid` is optional, EdDSA and Ed25519 are one algorithm, and `exp` may
be an hour away, which is Authlib's default.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from services.gateway.edge.foreign_rules import keys_of_set, peek

ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
_SAME: Mapping[str, str] = {"EdDSA": "Ed25519"}
"""RFC 9864 gave `EdDSA` with this curve a name of its own."""

SECONDS = 3_600
"""How far away `exp` may be."""

SKEW_SECONDS = 60
"""How far the clocks may be apart."""

LONGEST = 4_096
MOST_KIDLESS = 5

Key = Mapping[str, Any]


class UnprovenError(Exception):
    """An assertion proves nothing; `code` is one of the issuer's refusals."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def verified(assertion: str, keys: Sequence[Key], client_id: str, audiences: set[str], now: float) -> Mapping[str, Any]:
    """The claims of an assertion that is the client's, for us and of now. Raises UnprovenError.

    What its claims lack is told only to a caller who has the client's key: the signature comes first.
    """
    peeked = peek(assertion, LONGEST)
    if peeked is None:
        raise UnprovenError("assertion_malformed")
    if peeked.algorithm not in ALGORITHMS:
        raise UnprovenError("assertion_algorithm")
    fitting = [key for key in keys if usable(key, peeked.algorithm)]
    if not fitting:
        raise UnprovenError("assertion_no_key")
    # A key that was registered without a kid may be meant by any kid.
    candidates = [key for key in fitting if not peeked.key_id or key.get("kid", "") in ("", peeked.key_id)]
    if not candidates:
        raise UnprovenError("assertion_kid_unknown")
    for claims in _decoded(assertion, candidates, peeked.algorithm):
        _check(claims, client_id, audiences, now)
        return claims
    raise UnprovenError("assertion_signature")


def usable(key: Key, algorithm: str) -> dict[str, str | list[str]] | None:
    """The public part of a key, if assertions of an algorithm can be checked with it."""
    stated = key.get("alg")
    if stated is not None and _plain(str(stated)) != _plain(algorithm):
        return None
    bare = {name: value for name, value in key.items() if name not in ("alg", "kid")}
    try:
        return next(iter(keys_of_set({"keys": [bare]}, algorithm).values()), None)
    except TypeError:
        return None


def is_usable(key: Key) -> bool:
    """Whether a public key can be registered: for at least one algorithm, and without its private part."""
    if {"d", "p", "q", "k"} & key.keys() or not isinstance(key.get("kid", ""), str):
        return False
    found = [usable(key, algorithm) for algorithm in ALGORITHMS]
    try:
        return any(one is not None and JWKRegistry.import_key(one) for one in found)
    except (JoseError, ValueError, TypeError):
        return False


def _decoded(assertion: str, candidates: Sequence[Key], algorithm: str) -> Iterator[Mapping[str, Any]]:
    for key in candidates[:MOST_KIDLESS]:
        try:
            imported = JWKRegistry.import_key(usable(key, algorithm) or {})
            yield jwt.decode(assertion, imported, algorithms=[algorithm]).claims
        except (JoseError, ValueError, KeyError, TypeError):
            continue


def _check(claims: Mapping[str, Any], client_id: str, audiences: set[str], now: float) -> None:
    try:
        said = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        expires, not_before = float(claims["exp"]), float(claims.get("nbf", now))
        faults = {
            "assertion_claims": not claims["jti"],
            "assertion_issuer": not claims["iss"] == claims["sub"] == client_id,
            "assertion_audience": audiences.isdisjoint(said),
            "assertion_expired": expires <= now,
            "assertion_too_long": not expires <= now + SECONDS + SKEW_SECONDS,
            "assertion_early": not not_before <= now + SKEW_SECONDS,
        }
    except (KeyError, ValueError, TypeError):
        raise UnprovenError("assertion_claims") from None
    for code, is_so in faults.items():
        if is_so:
            raise UnprovenError(code)


def _plain(algorithm: str) -> str:
    return _SAME.get(algorithm, algorithm)
