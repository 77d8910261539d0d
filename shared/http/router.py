"""The router every capability uses: a route says who may call it and what can go wrong, and runs as one transaction.

For each request: authenticate, check the role, read the body, open the work, claim the idempotency key, call the use
case, store the finished answer, commit, and only then answer.
"""

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

import asyncpg
import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import IntegrityError
from starlette.datastructures import FormData
from starlette.routing import Match
from starlette.types import Scope

from shared import work as works
from shared.actors import Actor, Role
from shared.audit.kinds import Kind
from shared.house import House
from shared.http import idempotency
from shared.http.bodies import StrictRequest, strictly
from shared.http.handlers import problem_of
from shared.problems import (
    Forbidden,
    HeadersTooLarge,
    InternalError,
    InvalidInput,
    MalformedJson,
    MalformedRequest,
    MalformedUrl,
    NotAcceptable,
    PayloadTooLarge,
    Problem,
    Sunset,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnstorableInput,
    UnsupportedEncoding,
    UnsupportedMediaType,
    UpstreamFailed,
    UpstreamTimeout,
    UrlTooLong,
    VersionMismatch,
    openapi_responses,
)
from shared.sunset.rules import stays_open

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Before: TypeAlias = Callable[[House, Request], AbstractAsyncContextManager[None]]
"""What surrounds a request's transaction: it has the caller (`request.state.actor`) and the body."""

ALWAYS: tuple[type[Problem], ...] = (
    Forbidden,
    HeadersTooLarge,
    InternalError,
    InvalidInput,
    MalformedRequest,
    MalformedUrl,
    NotAcceptable,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnstorableInput,
    UpstreamFailed,
    UpstreamTimeout,
    UrlTooLong,
)
"""The problems every operation can meet."""

WITH_BODY: tuple[type[Problem], ...] = (MalformedJson, PayloadTooLarge, UnsupportedEncoding, UnsupportedMediaType)

NOBODY = Actor("nobody", Role(0))
"""Who calls an open route: no role, and a scope that holds nothing."""

strict_problems = False
"""In tests a problem that leaves a route which did not declare it is an error of the route."""


@dataclass(frozen=True)
class Contract:
    """What a route promises beside its types."""

    role: Role
    problems: tuple[type[Problem], ...]
    keyed: bool
    location: str | None
    open: bool
    unkept: bool = False
    audit: Kind | None = None
    """The kind of its entry in the audit. None leaves an entry of a look, and only where somebody was seen."""
    collects: bool = False
    """Whether it ends when the emergency is over."""
    before: Before | None = None


class Route(APIRoute):
    """A route that runs as one transaction on behalf of its caller."""

    siblings: "Sequence[Route]" = ()
    """The routes declared beside it."""

    hot: Any = None
    """What answers in place of the endpoint, where that is only a declaration (hot.py)."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette has it, but `…/search` is never taken for the id of a thing, whatever the method."""
        found = super().matches(scope)
        is_named = self.param_convertors and any(
            scope["path"] == one.path for one in self.siblings if not one.param_convertors
        )
        return (Match.NONE, {}) if is_named else found

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        contract: Contract = self.endpoint.__contract__  # type: ignore[attr-defined]
        methods = self.methods or set()
        operation = f"{'/'.join(sorted(methods))} {self.path}"
        writes = not methods <= {"GET", "HEAD"}

        async def run(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            house: House = request.app.state.house
            actor = _caller(request, contract)
            request.state.actor = actor
            if contract.collects and house.is_over:
                raise Sunset()
            # The body is here before the transaction begins: a slow client holds no connection to the database.
            body = await _body_of(request)
            # Whoever comes without a token has no name that a key could be kept under.
            keeps = writes and not contract.open and not contract.unkept
            key = request.headers.get("idempotency-key") if keeps else None
            if contract.keyed and key is None:
                raise idempotency.KeyMissing()
            before = contract.before(house, request) if contract.before else nullcontext()
            async with before, house.work(actor, operation) as work:
                request.state.work = work
                claim = await idempotency.claim(work, operation, key, _target(request), body) if key else None
                if claim and claim.answer:
                    return claim.answer  # the act has its entry already
                response = await handle(request)
                if contract.location and response.status_code in (201, 202):
                    response.headers["location"] = contract.location.format(**_said(response))
                work.trail.ends(contract.audit, response.headers.get("location", request.url.path))
                if claim:
                    await idempotency.keep(work, claim, response)
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


def _target(request: Request) -> str:
    """What an act is done to, and what it starts from: another If-Match is another act."""
    return f"{request.url.path}?{request.url.query}\n{request.headers.get('if-match', '')}"


def _caller(request: Request, contract: Contract) -> Actor:
    if contract.open:
        return NOBODY.during(request.state.request_id)
    actor: Actor = request.app.state.authenticate(request)
    if actor.role not in contract.role:
        raise Forbidden()
    return actor


def check_declared(problem: Problem, route: Route) -> None:
    """In tests, an error if a route raises what it did not declare."""
    if not strict_problems:
        return
    contract: Contract = route.endpoint.__contract__  # type: ignore[attr-defined]
    if type(problem) not in contract.problems:
        name = type(problem).__name__
        raise AssertionError(f"{route.methods} {route.path} raises {name}, which it does not declare") from problem


async def _body_of(request: Request) -> bytes:
    if request.headers.get("content-type", "").startswith("multipart/"):
        # Spooled to disk, and kept on the request for the endpoint; for the idempotency key its digest stands for it.
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


def _said(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(response.body)
    return found


class Router(APIRouter):
    """An APIRouter whose routes name their roles and problems. A route without a role does not start."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = ()) -> None:
        super().__init__(prefix=prefix, tags=list(tags), route_class=Route)

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A question: changes nothing but the audit."""
        return self._route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """An act. What creates (201, 202) needs an Idempotency-Key, unless its items carry ids (`client_ids=True`)."""
        return self._route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """The whole of a thing, again."""
        return self._route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A part of a thing."""
        return self._route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """The end of a thing."""
        return self._route("DELETE", path, **options)

    def _route(
        self,
        method: str,
        path: str,
        *,
        role: Role,
        raises: Sequence[type[Problem]] = (),
        status: int = 200,
        client_ids: bool = False,
        location: str | None = None,
        open: bool = False,  # noqa: A002 - reads as a sentence where it is said
        unkept: bool = False,
        audit: Kind | None = None,
        before: Before | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """`open` lets callers in without a token: what such a route trusts, it checks by itself.

        `unkept` keeps no answer under an idempotency key, for what must not be kept at all. `audit` is the kind of the
        entry each call leaves: a change, if nothing is said; a question leaves one of a look where it shows somebody's
        data, and one of another kind always. `before` surrounds the transaction, for what takes longer than one may.
        """
        if audit is None and method != "GET":
            audit = Kind.CHANGE

        def declare(endpoint: Endpoint) -> Endpoint:
            keyed = method == "POST" and status in (201, 202) and not client_ids and not open
            endpoint = strictly(endpoint)
            collects = not stays_open(method, self.prefix + path)
            problems = _problems(method, endpoint, [*raises, *([Sunset] if collects else [])], open)
            if open or unkept:
                problems = tuple(kind for kind in problems if kind not in idempotency.PROBLEMS)
            contract = Contract(role, problems, keyed, location, open, unkept, audit, collects, before)
            endpoint.__contract__ = contract  # type: ignore[attr-defined]
            summary, _, rest = inspect.cleandoc(endpoint.__doc__ or "").partition("\n")
            if not summary:
                raise TypeError(f"{endpoint.__name__} needs a docstring: it is the operation's summary")
            self.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                summary=summary.rstrip("."),
                description=rest.strip() or summary,
                operation_id=endpoint.__name__,
                responses=_responses(contract, status),
                openapi_extra={
                    **_access(contract),
                    **({"x-location": location} if location else {}),
                    **options.pop("extra", {}),
                },
                dependencies=_keys(contract) if method == "POST" else [],
                **options,
            )
            self.routes[-1].siblings = self.routes  # type: ignore[attr-defined]
            return endpoint

        return declare


def _access(contract: Contract) -> dict[str, Any]:
    if contract.open:
        return {"security": []}
    return {"x-roles": [one.label for one in Role if one in contract.role]}


def _problems(
    method: str, endpoint: Callable[..., Any], raises: Sequence[type[Problem]], is_open: bool
) -> tuple[type[Problem], ...]:
    """All that can go wrong: what the use case raises, and what its kind of request can meet."""
    problems = {*raises, *ALWAYS}
    asked = [parameter.annotation for parameter in inspect.signature(endpoint).parameters.values()]
    if PageAsked in asked or CursorAsked in asked:
        problems.add(works.InvalidCursor)
    if IfMatch in asked:
        problems.add(VersionMismatch)
    if method != "GET":
        problems.update(WITH_BODY, idempotency.PROBLEMS)
    return tuple(problems - {Unauthenticated, Forbidden} if is_open else problems)


def _responses(contract: Contract, status: int) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {**openapi_responses(contract.problems)}
    if contract.location:
        responses[status] = {
            "headers": {"Location": {"description": "Where what was made is found.", "schema": {"type": "string"}}}
        }
    return responses


def _keys(contract: Contract) -> list[Any]:
    if contract.open or contract.unkept:
        return []
    return [Depends(_idempotency_key if contract.keyed else _idempotency_key_if_any)]


_KEY = Header(
    alias="Idempotency-Key",
    description="A text of the caller's, unique to this act. The same key and body answer as before for 24 h.",
    min_length=8,
    max_length=128,
    pattern=r"^[\x21-\x7e]+$",
    examples=["0b9f4a6e-7a0e-4d0f-8a65-7d1ab0e4c9a1"],
)


async def _idempotency_key(key: Annotated[str, _KEY]) -> None:
    """Declared for the documents and the check of its form; the route reads it."""


async def _idempotency_key_if_any(key: Annotated[str | None, _KEY] = None) -> None:
    """The same where nothing new is made."""


async def _work(request: Request) -> works.Work:
    found: works.Work = request.state.work
    return found


async def _actor(request: Request) -> Actor:
    found: Actor = request.state.actor
    return found


async def _house(request: Request) -> House:
    found: House = request.app.state.house
    return found


def cursor_query(pattern: str) -> Any:
    """The parameter by which a list is read on. What it may look like is documented; the list itself refuses others."""
    return Query(
        description="`next_cursor` of the page before.", max_length=200, json_schema_extra={"pattern": pattern}
    )


CursorAsked: TypeAlias = Annotated[str | None, cursor_query(works.CURSOR)]


async def _page(
    cursor: CursorAsked = None,
    limit: Annotated[int, Query(ge=1, le=works.MOST_PER_PAGE, description="Most items in one page.")] = 50,
) -> works.Page:
    return works.Page(after=works.place_of(cursor), limit=limit)


Work: TypeAlias = Annotated[works.Work, Depends(_work)]
"""This request's transaction."""

Caller: TypeAlias = Annotated[Actor, Depends(_actor)]
"""Who calls."""

TheHouse: TypeAlias = Annotated[House, Depends(_house)]
"""The process, for the few routes that call a peer."""

PageAsked: TypeAlias = Annotated[works.Page, Depends(_page)]
"""Which page of a list is asked for."""

IfMatch: TypeAlias = Annotated[str | None, Header(alias="If-Match", description="The ETag seen last.", max_length=64)]
"""The version a change starts from."""
