"""A route that runs each request as one transaction on behalf of its caller.

The steps are: authenticate, check the role, read the body, start the transaction, claim the idempotency key, call the
use case, store the answer, commit. Only then the answer is sent.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import asyncpg
import msgspec
import structlog
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy.exc import IntegrityError
from starlette.datastructures import FormData
from starlette.routing import Match
from starlette.types import Scope

from shared.audit.kinds import Kind
from shared.core.actors import Actor, Role
from shared.http import idempotency
from shared.http.bodies import StrictRequest
from shared.http.failures import problem_of
from shared.problems import Fault, Forbidden, InvalidInput, LocalizedText, Problem, Sunset, shown
from shared.runtime.context import ServiceContext

Around: TypeAlias = Callable[[ServiceContext, Request], AbstractAsyncContextManager[None]]
"""A context around a request's transaction. It can use the caller (`request.state.actor`) and the body."""

NOBODY = Actor("nobody", Role(0))
"""The caller of an open route: without a role and with an empty scope."""

_NO_SUCH_PARAMETER = LocalizedText(zh="没有此查询参数，请删除", en="This query parameter does not exist; remove it")

logger = structlog.get_logger()

strict_problems = False
"""Whether a route that raises an undeclared problem fails with an AssertionError. Tests set it."""


@dataclass(frozen=True)
class Contract:
    """The declarations of a route in addition to its types."""

    role: Role
    problems: tuple[type[Problem], ...]
    keyed: bool
    location: str | None
    public: bool
    store_response: bool = True
    audit: Kind | None = None
    """The kind of its audit entry. None writes an entry of kind LOOK, and only if somebody's data was read."""
    collects: bool = False
    """Whether it is closed when the emergency is over."""
    around: Around | None = None


class Route(APIRoute):
    """A route that runs as one transaction on behalf of its caller."""

    siblings: "Sequence[Route]" = ()
    """The routes of the same router."""

    _query: frozenset[str] | None = None

    fast_endpoint: Any = None
    """What answers instead of the endpoint, if the endpoint is only a declaration (fast_path.py)."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as Starlette does, but never take `…/search` for an id, even with another method."""
        match = super().matches(scope)
        is_named = self.param_convertors and any(
            scope["path"] == one.path for one in self.siblings if not one.param_convertors
        )
        return (Match.NONE, {}) if is_named else match

    def check_query(self, query: bytes) -> None:
        """Refuse unknown parameters, because a misspelt filter would have no effect. Raises InvalidInput."""
        if not query:
            return
        if self._query is None:
            self._query = frozenset(_query_names(self.dependant))
        names = dict.fromkeys(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        unknown = [name for name in names if name not in self._query]
        if unknown:
            raise InvalidInput(errors=[_unknown(name) for name in unknown])

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        contract: Contract = self.endpoint.__contract__  # type: ignore[attr-defined]
        methods = self.methods or set()
        operation = f"{'/'.join(sorted(methods))} {self.path}"
        writes = not methods <= {"GET", "HEAD"}

        async def run(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            context: ServiceContext = request.app.state.context
            actor = _caller(request, contract)
            request.state.actor = actor
            self.check_query(request.scope["query_string"])
            if contract.collects and context.is_over:
                raise Sunset()
            # Read the body before the transaction, so that a slow client does not hold a database connection.
            body = await _body_of(request)
            # An anonymous caller has no subject under which a key could be stored.
            keeps = writes and not contract.public and contract.store_response
            key = request.headers.get("idempotency-key") if keeps else None
            if contract.keyed and key is None:
                raise idempotency.KeyMissing()
            around = contract.around(context, request) if contract.around else nullcontext()
            async with around, context.unit_of_work(actor, operation) as uow:
                request.state.uow = uow
                claim = await idempotency.claim(uow, operation, key, _target(request), body) if key else None
                if claim and claim.answer:
                    return claim.answer  # the first request wrote the audit entry
                response = await handle(request)
                if contract.location and response.status_code in (201, 202):
                    response.headers["location"] = contract.location.format(**_fields(response))
                uow.trail.ends(contract.audit, response.headers.get("location", request.url.path))
                if claim:
                    await idempotency.keep(uow, claim, response)
            return response

        async def checked(request: Request) -> Response:
            try:
                return await run(request)
            except (IntegrityError, asyncpg.IntegrityConstraintViolationError) as error:
                problem = problem_of(error)
                check_declared(problem, self)
                raise problem from error
            except Problem as problem:
                check_declared(problem, self)
                raise

        return checked


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _unknown(name: str) -> Fault:
    return Fault("parameter_unknown", _NO_SUCH_PARAMETER, parameter=shown(name) or "…", location="query")


def _target(request: Request) -> str:
    """Return the target and the starting version of a request. Another If-Match is another request."""
    return f"{request.url.path}?{request.url.query}\n{request.headers.get('if-match', '')}"


def _caller(request: Request, contract: Contract) -> Actor:
    if contract.public:
        return NOBODY.during(request.state.request_id)
    actor: Actor = request.app.state.authenticate(request)
    request.state.actor = actor  # set before the check, because a refusal uses texts for the caller's role
    if actor.role not in contract.role:
        raise Forbidden()
    return actor


def check_declared(problem: Problem, route: Route) -> None:
    """In tests, fail if a route raises a problem that it did not declare."""
    if not strict_problems:
        return
    contract: Contract = route.endpoint.__contract__  # type: ignore[attr-defined]
    if type(problem) not in contract.problems:
        name, endpoint = type(problem).__name__, route.endpoint
        remedy = f"add {name} to raises=[…] of {endpoint.__name__} in {endpoint.__module__}"
        logger.error("problem_undeclared", operation=f"{route.methods} {route.path}", remedy=remedy)
        raise AssertionError(remedy) from problem


async def _body_of(request: Request) -> bytes:
    if request.headers.get("content-type", "").startswith("multipart/"):
        # The form is spooled to disk and stays on the request for the endpoint. Its digest represents the body in the
        # idempotency fingerprint.
        return await asyncio.to_thread(_digest_of, await request.form())
    return await request.body()


def _digest_of(form: FormData) -> bytes:
    digest = hashlib.sha256()
    for name, value in form.multi_items():
        digest.update(f"{name}\n".encode())
        if isinstance(value, str):
            digest.update(hashlib.sha256(value.encode()).digest())
        else:
            value.file.seek(0)
            while block := value.file.read(1 << 20):
                digest.update(block)
            value.file.seek(0)
    return digest.digest()


def _fields(response: Response) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(response.body)
    return fields
