"""Rules for tokens and keys of other issuers. Pure functions. Everything that is not listed here is refused."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.core.actors import Actor, Role
from shared.core.regions import level_of, lies_under, range_of
from shared.core.settings import TrustedIssuer

KINDS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "Ed25519": ("OKP", "Ed25519"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Key type and curve for each algorithm. No symmetric algorithm is allowed, so a public key is never used as secret."""

MOST_KEYS = 50
MOST_SCOPES = 100
RSA_MODULUS_CHARACTERS = range(340, 1_400)
"""2048 to 8192 bits, base64url."""


class Peeked(NamedTuple):
    """Unverified header and issuer of a token."""

    algorithm: str
    key_id: str
    issuer: str


def peek(token: str, longest: int) -> Peeked | None:
    """Read the header and issuer of a token without verifying it, to select the keys. None if it is not a token."""
    parts = token.split(".")
    if len(token) > longest or len(parts) != 3:
        return None
    try:
        header, claims = (json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
        return Peeked(str(header.get("alg")), str(header.get("kid", "")), str(claims.get("iss")))
    except (ValueError, AttributeError, RecursionError):
        return None


def keys_of_set(published: Mapping[str, Any], algorithm: str) -> dict[str, dict[str, str | list[str]]]:
    """Return the keys of a key set for an algorithm, by id. Raises ValueError if there are too many."""
    kind, curve = KINDS[algorithm]
    keys = published["keys"]
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise ValueError("keys")
    return {
        str(key.get("kid", "")): {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}
        for key in keys
        if isinstance(key, dict)
        and key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and all(isinstance(value, str) for value in key.values() if not isinstance(value, list))
        and (kind != "RSA" or len(key.get("n", "")) in RSA_MODULUS_CHARACTERS)
    }


def actor_of_claims(
    claims: Mapping[str, Any], trusted: TrustedIssuer, *, most_seconds: int
) -> tuple[Actor, float, float]:
    """Return the bearer, and from when until when the token is valid.

    Raises ValueError or KeyError if a claim is missing or not allowed for this issuer.
    """
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims["iss"] != trusted.issuer or trusted.audience not in audiences:
        raise ValueError("not for us")
    expires = float(claims["exp"])
    not_before = float(claims.get("nbf", claims.get("iat", expires - most_seconds)))
    if not 0 < expires - not_before <= most_seconds:
        raise ValueError("lives too long")
    if len(str(claims.get("scope", "")).split()) > MOST_SCOPES:
        raise ValueError("too many scopes")
    role = Role.named(trusted.roles[claims[trusted.role_claim]])
    if role is Role.SERVICE or role is Role.RESIDENT:
        raise ValueError("role")
    region = str(claims[trusted.region_claim])
    if (region and level_of(region) is None) or not lies_under(region, trusted.region):
        raise ValueError("region")
    party = str(claims.get(trusted.party_claim, ""))
    if role in Role.MACHINE and not party:
        raise ValueError("party")
    actor = Actor(
        # A subject is unique only within its issuer.
        subject=f"{trusted.issuer}#{claims['sub']}",
        role=role,
        range=range_of(region),
        party=party,
    )
    return actor, not_before, expires
