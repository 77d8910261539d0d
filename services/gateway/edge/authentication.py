"""Authentication of callers: bearer tokens of trusted issuers, and internal tokens under /internal/."""

from collections.abc import Callable, Mapping
from typing import Any

from services.gateway.edge.networks import client_of
from services.gateway.edge.rates import LocalLimiter
from services.gateway.edge.trusted_issuers import TrustedIssuers
from shared.core.actors import Actor, Role
from shared.core.settings import Settings
from shared.problems import Unauthenticated
from shared.runtime.app import Authenticate, bearer, bearer_token
from shared.runtime.context import ServiceContext

INTERNAL = "/internal/"


def fast_path_tokens(trusted_issuers: TrustedIssuers, settings: Settings) -> Authenticate:
    """Return the authentication of the fast path. It differs from the others only in that it sets no request id.

    The fast path bypasses the guard, so this function counts requests: of residents by subject, and those with a
    refused token by address. An expired token of our own issuer is counted by its subject, so that its bearer gets
    401 and can fetch a new one.
    """
    limiter = LocalLimiter(settings.requests_a_minute_per_resident)
    refused = LocalLimiter(settings.requests_a_minute_per_client)

    def authenticate(scope: Mapping[str, Any]) -> Actor:
        try:
            actor = trusted_issuers.actor_of(bearer_token(scope))
        except Unauthenticated:
            token = bearer_if_any(scope)
            bearer = trusted_issuers.bearer_of(token) if token else None
            refused.count(client_of(scope, settings.proxy_networks) if bearer is None else bearer.subject)
            raise
        if actor.role is Role.RESIDENT:
            limiter.count(actor.subject)
        return actor

    return authenticate


def bearer_if_any(scope: Mapping[str, Any]) -> str | None:
    """Return the bearer token of a request, or None."""
    try:
        return bearer_token(scope)
    except Unauthenticated:
        return None


def outside_tokens(trusted_issuers: TrustedIssuers) -> Callable[[ServiceContext], Authenticate]:
    """Return the authentication of the gateway. Internal routes accept only internal tokens, all others never do."""

    def of(context: ServiceContext) -> Authenticate:
        inside = bearer(context)

        def authenticate(scope: Mapping[str, Any]) -> Actor:
            if scope["path"].startswith(INTERNAL):
                return inside(scope)
            return trusted_issuers.actor_of(bearer_token(scope)).during(scope["state"]["request_id"])

        return authenticate

    return of
