"""The router of every capability. A route declares its roles, its problems and its OpenAPI description.

route.py runs the routes.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request

from shared.audit.kinds import Kind
from shared.core.actors import Actor, Role
from shared.database import paging
from shared.database.unit_of_work import UnitOfWork
from shared.governance.sunset.rules import stays_open
from shared.http import idempotency
from shared.http.bodies import strictly
from shared.http.openapi import MUST
from shared.http.preconditions import IfMatchMalformed
from shared.http.route import Around, Contract, Route
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
    PreconditionRequired,
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
    openapi_headers,
    openapi_responses,
)
from shared.runtime.context import ServiceContext

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
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
"""The problems that every operation can raise."""

WITH_BODY: tuple[type[Problem], ...] = (MalformedJson, PayloadTooLarge, UnsupportedEncoding, UnsupportedMediaType)


class Router(APIRouter):
    """An APIRouter whose routes declare their roles and problems. A route without a role fails at import."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = ()) -> None:
        super().__init__(prefix=prefix, tags=list(tags), route_class=Route)

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare a read. It changes only the audit."""
        return self._route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare an act. A creation (201, 202) requires an Idempotency-Key, unless items have client ids."""
        return self._route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare a replacement of a whole resource."""
        return self._route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare a change of a part of a resource."""
        return self._route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare a deletion or the end of a resource."""
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
        public: bool = False,
        store_response: bool = True,
        audit: Kind | None = None,
        around: Around | None = None,
        etag: bool = False,
        also: Mapping[int, str] | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare a route.

        `public` admits callers without a token; such a route must do its own checks. `store_response=False` stores no
        answer under an idempotency key, for answers that must not be stored. `audit` is the kind of the audit entry of
        each call. The default is CHANGE; for GET the default is LOOK, written only if the answer shows somebody's data.
        `around` is a context around the transaction, for work that takes longer than a transaction may. `etag` says
        that the answer has an ETag. `also` maps further statuses with the same answer to their descriptions.
        """
        if audit is None and method != "GET":
            audit = Kind.CHANGE

        def declare(endpoint: Endpoint) -> Endpoint:
            # Routes for other services only are not part of the public document.
            options.setdefault("include_in_schema", role != Role.SERVICE)
            keyed = method == "POST" and status in (201, 202) and not client_ids and not public
            endpoint = strictly(endpoint)
            collects = not stays_open(method, self.prefix + path)
            problems = _problems(method, endpoint, [*raises, *([Sunset] if collects else [])], public)
            if public or not store_response:
                problems = tuple(kind for kind in problems if kind not in idempotency.PROBLEMS)
            contract = Contract(role, problems, keyed, location, public, store_response, audit, collects, around)
            endpoint.__contract__ = contract  # type: ignore[attr-defined]
            self.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                responses=_responses(contract, method, status, etag, _same(endpoint, also or {})),
                openapi_extra={
                    **_access(contract),
                    **({"x-location": location} if location else {}),
                    **({"parameters": [IF_NONE_MATCH]} if etag and method == "GET" else {}),
                    **options.pop("extra", {}),
                },
                dependencies=_keys(contract) if method == "POST" else [],
                **_described(endpoint),
                **options,
            )
            self.routes[-1].siblings = self.routes  # type: ignore[attr-defined]
            return endpoint

        return declare


def _described(endpoint: Callable[..., Any]) -> dict[str, Any]:
    """Take the id, summary and description of an operation from its endpoint. The docstring begins with the summary."""
    summary, _, rest = inspect.cleandoc(endpoint.__doc__ or "").partition("\n")
    if not summary:
        raise TypeError(f"{endpoint.__name__} needs a docstring, because its first line is the operation's summary")
    return {
        "operation_id": endpoint.__name__,
        "summary": summary.rstrip("."),
        "description": rest.strip() or summary,
    }


def _access(contract: Contract) -> dict[str, Any]:
    if contract.public:
        return {"security": []}
    return {"x-roles": [one.label for one in Role if one in contract.role]}


def _problems(
    method: str, endpoint: Callable[..., Any], raises: Sequence[type[Problem]], is_open: bool
) -> tuple[type[Problem], ...]:
    """Return all problems of an operation: those that it declares, and those of its kind of request."""
    problems = {*raises, *ALWAYS}
    annotations = [parameter.annotation for parameter in inspect.signature(endpoint).parameters.values()]
    if PageAsked in annotations or CursorAsked in annotations:
        problems.add(paging.InvalidCursor)
    if IfMatch in annotations or IfMatchRequired in annotations:
        problems.update((VersionMismatch, IfMatchMalformed))
    if IfMatchRequired in annotations:
        problems.add(PreconditionRequired)
    if method != "GET":
        problems.update(WITH_BODY, idempotency.PROBLEMS)
    return tuple(problems - {Unauthenticated, Forbidden} if is_open else problems)


IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETags that the caller has. If one of them matches, the answer is 304 without a body.",
    "schema": {"type": "string"},
}


def _responses(
    contract: Contract, method: str, status: int, etag: bool, also: dict[int | str, dict[str, Any]]
) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {**openapi_responses(contract.problems), **also}
    headers = openapi_headers(["ETag"]) if etag else {}
    if contract.location:
        headers["Location"] = {"description": "URL of the created resource.", "schema": {"type": "string"}}
    if headers:
        responses[status] = {"headers": headers}
    if etag and method == "GET":
        responses[304] = {
            "description": "Not modified: the caller has the current version.",
            "headers": openapi_headers(["ETag"]),
        }
    return responses


def _same(endpoint: Callable[..., Any], also: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Declare further statuses with the same answer model."""
    answer = inspect.signature(endpoint, eval_str=True).return_annotation
    return {status: {"description": when, "model": answer} for status, when in also.items()}


def _keys(contract: Contract) -> list[Any]:
    if contract.public or not contract.store_response:
        return []
    return [Depends(_idempotency_key if contract.keyed else _idempotency_key_if_any)]


_KEY = Header(
    alias="Idempotency-Key",
    description="A unique text that the caller chooses for each operation. For 24 h the same key and body return the "
    "first answer.",
    min_length=8,
    max_length=128,
    pattern=r"^[\x21-\x7e]+$",
    examples=["0b9f4a6e-7a0e-4d0f-8a65-7d1ab0e4c9a1"],
)


async def _idempotency_key(key: Annotated[str, _KEY]) -> None:
    """Declare the key for the OpenAPI document and validate its format. The route reads it."""


async def _idempotency_key_if_any(key: Annotated[str | None, _KEY] = None) -> None:
    """Declare the optional key of operations that create nothing."""


async def _unit_of_work(request: Request) -> UnitOfWork:
    uow: UnitOfWork = request.state.uow
    return uow


async def _actor(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


async def _context(request: Request) -> ServiceContext:
    context: ServiceContext = request.app.state.context
    return context


def cursor_query(pattern: str) -> Any:
    """Declare the cursor parameter of a list. The pattern is for the document only; the list refuses other cursors."""
    return Query(
        description="`next_cursor` of the previous page.", max_length=200, json_schema_extra={"pattern": pattern}
    )


CursorAsked: TypeAlias = Annotated[str | None, cursor_query(paging.CURSOR)]


async def _page(
    cursor: CursorAsked = None,
    limit: Annotated[int, Query(ge=1, le=paging.MOST_PER_PAGE, description="Maximum number of items per page.")] = 50,
) -> paging.Page:
    return paging.Page(after=paging.position_of(cursor), limit=limit)


Uow: TypeAlias = Annotated[UnitOfWork, Depends(_unit_of_work)]
"""This request's transaction."""

Caller: TypeAlias = Annotated[Actor, Depends(_actor)]
"""The caller of this request."""

ContextDep: TypeAlias = Annotated[ServiceContext, Depends(_context)]
"""The process, for the few routes that call another service."""

PageAsked: TypeAlias = Annotated[paging.Page, Depends(_page)]
"""The requested page of a list."""


def _if_match_header(more: str, **schema: Any) -> Any:
    described = f"The ETag that the caller last read, or a list of ETags (RFC 9110, 13.1.1). {more}"
    return Header(alias="If-Match", description=described, max_length=1_000, json_schema_extra=schema)


async def _if_match(
    request: Request,
    given: Annotated[str | None, _if_match_header("If omitted or `*`, any version is changed.")] = None,
) -> str | None:
    return None if given is None else ",".join(request.headers.getlist("if-match"))


async def _if_match_required(
    request: Request,
    given: Annotated[str | None, _if_match_header("If `*`, any version is changed.", **MUST)] = None,
) -> str | None:
    return await _if_match(request, given)


IfMatch: TypeAlias = Annotated[str | None, Depends(_if_match)]
"""The version that a change is based on, if the caller sends one."""

IfMatchRequired: TypeAlias = Annotated[str | None, Depends(_if_match_required)]
"""The version that a change must be based on: `uow.require_version(row, if_match, required=True)`."""
