"""Who calls the gateway: the bearer of one of our issuer's tokens; for what is internal, one of our own services."""

from collections.abc import Mapping
from typing import Any

from services.gateway.edge.issuer import Issuer
from services.gateway.edge.rates import Often
from shared.actors import Actor, Role
from shared.app import Authenticate, bearer, bearer_token
from shared.house import House

INTERNAL = "/internal/"


def hot_tokens(house: House) -> Authenticate:
    """How the hot routes know their callers: as all do, but for the request id, which nothing there carries on.

    They stand before the guard, so how often a resident asks is counted here.
    """
    issuer = Issuer.of(house)
    often = Often(house.settings.requests_a_minute_per_resident)

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        actor = issuer.actor_of(bearer_token(scope))
        if actor.role is Role.RESIDENT:
            often.count(actor.subject)
        return actor

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
