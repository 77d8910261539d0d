"""Load shedding and rate limits for every request from outside.

A caller with a token is counted by subject, not by address, so that others behind the same address (of a hospital or
a mobile carrier) do not use up this limit. A caller without token is counted by address. Requests for care have their
own limits. Beyond the limit of an address they are not refused, but only a few are processed at a time.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.edge.authentication import INTERNAL, bearer_if_any
from services.gateway.edge.networks import Unbelieved, client_of
from services.gateway.edge.priority_class import PriorityClass, priority_class_of
from services.gateway.edge.rates import Rates
from services.gateway.edge.shedding import Shedder, arrived, leaving, most_in_flight
from shared.core.actors import Actor
from shared.core.settings import Settings
from shared.http.handlers import respond
from shared.problems import TooManyRequests, Unauthenticated, Unavailable

ALWAYS_OPEN = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths for operators. Paths under `/internal/` are open too, for our own services."""


class AdmissionMiddleware:
    """The middleware. It runs inside the outer middleware, which answers its exceptions.

    `bearer_of` returns the bearer of an expired token. A phone with an expired token is then counted by subject and
    gets 401, even if its address is over the limit.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, bearer_of: Callable[[str], Actor | None] = lambda _: None
    ) -> None:
        self.app = app
        self._reverse_proxies = settings.proxy_networks
        self._bearer_of = bearer_of
        self._rates = Rates(settings)
        self._shedder = Shedder(most_in_flight(settings.requests_in_flight))
        self._unbelieved = Unbelieved()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_always_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        self._unbelieved.look(scope, self._reverse_proxies)
        receive = await arrived(scope, receive)
        try:
            leave = await self._enter(scope)
        except TooManyRequests as problem:
            await respond(scope, problem)(scope, receive, send)
            return
        except Unavailable as problem:
            await self._shedder.hold()
            await respond(scope, problem)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, leaving(send, leave))
        finally:
            leave()

    async def _enter(self, scope: Scope) -> Callable[[], None]:
        """Admit a request. Returns the function that releases its slot. Raises `Unavailable` or `TooManyRequests`."""
        priority_class = priority_class_of(scope["method"], scope["path"])
        leave = await self._shedder.enter(priority_class)
        try:
            is_within = await self._count(scope, priority_class)
        except BaseException:
            leave()
            raise
        if not is_within:
            leave()
            return await self._shedder.enter(PriorityClass.CROWD)
        return leave

    async def _count(self, scope: Scope, priority_class: PriorityClass) -> bool:
        """Count a request. Returns False for an unauthenticated request for care beyond the limit of its address."""
        if (actor := self._caller(scope)) is not None:
            await self._rates.admit_person(actor, scope["method"], scope["path"], priority_class)
            return True
        address = client_of(scope, self._reverse_proxies)
        if priority_class is PriorityClass.CARE:
            return await self._rates.has_room_for_care(address)
        await self._rates.admit_client(address)
        return True

    def _caller(self, scope: Scope) -> Actor | None:
        """Return the caller, if known. The route decides whether a caller is required."""
        try:
            actor: Actor | None = scope["app"].state.authenticate(scope)
        except Unauthenticated:
            token = bearer_if_any(scope)
            actor = self._bearer_of(token) if token else None
        except Unavailable:
            actor = None
        return actor


def _is_always_open(path: str) -> bool:
    return path in ALWAYS_OPEN or path.startswith(INTERNAL)
