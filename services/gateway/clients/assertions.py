"""Client assertions (RFC 7523, `private_key_jwt`): a machine authenticates with a JWT that its key signed. Pure.

Assertions of common libraries are accepted: `kid` is optional, EdDSA and Ed25519 are the same algorithm, and `exp` may
be one hour away, which is Authlib's default.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from services.gateway.edge.foreign_rules import keys_of_set, peek

ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
_SAME: Mapping[str, str] = {"EdDSA": "Ed25519"}
"""RFC 9864 introduced the name `Ed25519` for `EdDSA` with this curve."""

SECONDS = 3_600
"""Maximum time until `exp`."""

SKEW_SECONDS = 60
"""Accepted difference between the clocks."""

LONGEST = 4_096
MOST_KIDLESS = 5

Key = Mapping[str, Any]


class UnprovenError(Exception):
    """An assertion is not valid. `code` is one of the issuer's refusals."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def verified(assertion: str, keys: Sequence[Key], client_id: str, audiences: set[str], now: float) -> Mapping[str, Any]:
    """Verify an assertion and return its claims. Raises UnprovenError.

    The signature is verified before the claims, so that only the holder of the key learns what is wrong with them.
    """
    peeked = peek(assertion, LONGEST)
    if peeked is None:
        raise UnprovenError("assertion_malformed")
    if peeked.algorithm not in ALGORITHMS:
        raise UnprovenError("assertion_algorithm")
    fitting = [key for key in keys if usable(key, peeked.algorithm)]
    if not fitting:
        raise UnprovenError("assertion_no_key")
    # A key that was registered without a kid matches every kid.
    candidates = [key for key in fitting if not peeked.key_id or key.get("kid", "") in ("", peeked.key_id)]
    if not candidates:
        raise UnprovenError("assertion_kid_unknown")
    for claims in _decoded(assertion, candidates, peeked.algorithm):
        _check(claims, client_id, audiences, now)
        return claims
    raise UnprovenError("assertion_signature")


def usable(key: Key, algorithm: str) -> dict[str, str | list[str]] | None:
    """Return the public part of a key if it can verify assertions with this algorithm, else None."""
    stated = key.get("alg")
    if stated is not None and _plain(str(stated)) != _plain(algorithm):
        return None
    bare = {name: value for name, value in key.items() if name not in ("alg", "kid")}
    try:
        return next(iter(keys_of_set({"keys": [bare]}, algorithm).values()), None)
    except TypeError:
        return None


def is_usable(key: Key) -> bool:
    """Whether a key can be registered: it fits at least one algorithm and contains no private part."""
    if {"d", "p", "q", "k"} & key.keys() or not isinstance(key.get("kid", ""), str):
        return False
    public_keys = [usable(key, algorithm) for algorithm in ALGORITHMS]
    try:
        return any(one is not None and JWKRegistry.import_key(one) for one in public_keys)
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
        named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        expires, not_before = float(claims["exp"]), float(claims.get("nbf", now))
        faults = {
            "assertion_claims": not claims["jti"],
            "assertion_issuer": not claims["iss"] == claims["sub"] == client_id,
            "assertion_audience": audiences.isdisjoint(named),
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
