"""What every request from outside passes first: is there room for it, and is its caller within limits?

A caller with a token is counted by name and not by address, so strangers behind the same address (a hospital's, a
carrier's) use nothing of that budget. A caller without one is counted by address. Care has budgets of its own: beyond
the limit of an address, requests for care are not refused but worked on a few at a time.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.edge.authentication import INTERNAL, bearer_if_any
from services.gateway.edge.networks import Unbelieved, client_of
from services.gateway.edge.rates import Rates
from services.gateway.edge.shedding import Shedder, arrived, leaving, most_in_flight
from services.gateway.edge.urgency import Urgency, urgency_of
from shared.actors import Actor
from shared.http.handlers import respond
from shared.problems import TooManyRequests, Unauthenticated, Unavailable
from shared.settings import Settings

ALWAYS_OPEN = frozenset({"/livez", "/readyz", "/metrics"})
"""What operators ask, and, below `/internal/`, our own services."""


class Guard:
    """The middleware itself. It stands within the surroundings, which answer what it raises.

    `bearer_of` names the bearer of a token that no longer holds, so that a phone whose token has ended is told so by
    401, however many strangers its address has.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, bearer_of: Callable[[str], Actor | None] = lambda _: None
    ) -> None:
        self.app = app
        self._proxies = settings.proxy_networks
        self._bearer_of = bearer_of
        self._rates = Rates(settings)
        self._shedder = Shedder(most_in_flight(settings.requests_in_flight))
        self._unbelieved = Unbelieved()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_always_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        self._unbelieved.look(scope, self._proxies)
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
        """Take room for a request. Raises `Unavailable` or `TooManyRequests`."""
        urgency = urgency_of(scope["method"], scope["path"])
        leave = await self._shedder.enter(urgency)
        try:
            is_within = await self._count(scope, urgency)
        except BaseException:
            leave()
            raise
        if not is_within:
            leave()
            return await self._shedder.enter(Urgency.CROWD)
        return leave

    async def _count(self, scope: Scope, urgency: Urgency) -> bool:
        """Count a request. False if it is a stranger's request for care, beyond the limit of its address."""
        if (actor := self._caller(scope)) is not None:
            await self._rates.admit_person(actor, scope["method"], scope["path"], urgency)
            return True
        address = client_of(scope, self._proxies)
        if urgency is Urgency.CARE:
            return await self._rates.has_room_for_care(address)
        await self._rates.admit_client(address)
        return True

    def _caller(self, scope: Scope) -> Actor | None:
        """Who asks, if that is known: whether they must be is the route's matter."""
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
