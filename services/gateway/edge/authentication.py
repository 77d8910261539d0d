"""Who calls the gateway: the bearer of a token of an issuer we trust; for what is internal, one of our own services."""

from collections.abc import Callable, Mapping
from typing import Any

from services.gateway.edge.rates import Often
from services.gateway.edge.trust import Trust
from shared.actors import Actor, Role
from shared.app import Authenticate, bearer, bearer_token
from shared.house import House

INTERNAL = "/internal/"


def hot_tokens(trust: Trust, requests_a_minute_per_resident: int) -> Authenticate:
    """How the hot routes know their callers: as all do, but for the request id, which nothing there carries on.

    They stand before the guard, so how often a resident asks is counted here.
    """
    often = Often(requests_a_minute_per_resident)

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        actor = trust.actor_of(bearer_token(scope))
        if actor.role is Role.RESIDENT:
            often.count(actor.subject)
        return actor

    return authenticate


def outside_tokens(trust: Trust) -> Callable[[House], Authenticate]:
    """How the gateway knows its callers. What one kind of token opens, the other never does."""

    def of(house: House) -> Authenticate:
        inside = bearer(house)

        def authenticate(scope: Mapping[str, Any]) -> Actor:
            if scope["path"].startswith(INTERNAL):
                return inside(scope)
            return trust.actor_of(bearer_token(scope)).during(scope["state"]["request_id"])

        return authenticate

    return of
