"""What every request from outside passes first: is there room for it, and is its caller within limits?"""

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.edge.authentication import INTERNAL
from services.gateway.edge.networks import client_of
from services.gateway.edge.rates import Rates
from services.gateway.edge.shedding import Shedder, arrived, leaving, most_in_flight
from services.gateway.edge.urgency import urgency_of
from shared.actors import Actor
from shared.http.handlers import respond
from shared.problems import TooManyRequests, Unauthenticated, Unavailable
from shared.settings import Settings

ALWAYS_OPEN = frozenset({"/livez", "/readyz", "/metrics"})
"""What operators ask, and, below `/internal/`, our own services."""


class Guard:
    """The middleware itself. It stands within the surroundings, which answer what it raises."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._proxies = settings.proxy_networks
        self._rates = Rates(settings)
        self._shedder = Shedder(most_in_flight(settings.requests_in_flight))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_always_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        receive = await arrived(scope, receive)
        try:
            leave = await self._shedder.enter(urgency_of(scope["method"], scope["path"]))
        except Unavailable as problem:
            await self._shedder.hold()
            await respond(scope, problem)(scope, receive, send)
            return
        try:
            refused = await self._refused(scope)
            answer = self.app if refused is None else respond(scope, refused)
            await answer(scope, receive, leaving(send, leave))
        finally:
            leave()

    async def _refused(self, scope: Scope) -> TooManyRequests | None:
        try:
            await self._count(scope)
        except TooManyRequests as problem:
            return problem
        return None

    async def _count(self, scope: Scope) -> None:
        await self._rates.admit_client(client_of(scope, self._proxies))
        if (actor := _caller(scope)) is not None:
            await self._rates.admit_person(actor, scope["method"], scope["path"])


def _is_always_open(path: str) -> bool:
    return path in ALWAYS_OPEN or path.startswith(INTERNAL)


def _caller(scope: Scope) -> Actor | None:
    """Who asks, if that is known: whether they must be is the route's matter."""
    try:
        actor: Actor = scope["app"].state.authenticate(scope)
    except (Unauthenticated, Unavailable):
        return None
    return actor
