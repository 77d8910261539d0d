"""Who calls the gateway: the bearer of one of our issuer's tokens; for what is internal, one of our own services."""

from collections.abc import Mapping
from typing import Any

from services.gateway.edge.issuer import Issuer
from shared.actors import Actor
from shared.app import Authenticate, bearer, bearer_token
from shared.house import House

INTERNAL = "/internal/"


def hot_tokens(house: House) -> Authenticate:
    """How the hot routes know their callers: as all do, but for the request id, which nothing there carries on."""
    issuer = Issuer.of(house)

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        return issuer.actor_of(bearer_token(scope))

    return authenticate


def outside_tokens(house: House) -> Authenticate:
    """How the gateway knows its callers. What one kind of token opens, the other never does."""
    issuer = Issuer.of(house)
    inside = bearer(house)

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        if scope["path"].startswith(INTERNAL):
            return inside(scope)
        return issuer.actor_of(bearer_token(scope)).during(scope["state"]["request_id"])

    return authenticate
