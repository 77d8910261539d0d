"""Who calls the gateway: the bearer of a token of an issuer we trust; for what is internal, one of our own services."""

from collections.abc import Callable, Mapping
from typing import Any

from services.gateway.edge.networks import client_of
from services.gateway.edge.rates import Often
from services.gateway.edge.trust import Trust
from shared.actors import Actor, Role
from shared.app import Authenticate, bearer, bearer_token
from shared.house import House
from shared.problems import Unauthenticated
from shared.settings import Settings

INTERNAL = "/internal/"


def hot_tokens(trust: Trust, settings: Settings) -> Authenticate:
    """How the hot routes know their callers: as all do, but for the request id, which nothing there carries on.

    They stand before the guard, so requests are counted here: of a resident by name, with a refused token by address.
    A token of ours that has ended is counted by name, because its bearer must get 401 to fetch another one.
    """
    often = Often(settings.requests_a_minute_per_resident)
    refused = Often(settings.requests_a_minute_per_client)

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        try:
            actor = trust.actor_of(bearer_token(scope))
        except Unauthenticated:
            token = bearer_if_any(scope)
            bearer = trust.bearer_of(token) if token else None
            refused.count(client_of(scope, settings.proxy_networks) if bearer is None else bearer.subject)
            raise
        if actor.role is Role.RESIDENT:
            often.count(actor.subject)
        return actor

    return authenticate


def bearer_if_any(scope: Mapping[str, Any]) -> str | None:
    """The one bearer token of a request."""
    try:
        return bearer_token(scope)
    except Unauthenticated:
        return None


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
