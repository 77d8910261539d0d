"""The router every capability uses: a route says who may call it and what can go wrong, and how it stands in OpenAPI.

How it runs is in route.py.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request

from shared import work as works
from shared.actors import Actor, Role
from shared.audit.kinds import Kind
from shared.house import House
from shared.http import idempotency
from shared.http.bodies import strictly
from shared.http.openapi import MUST
from shared.http.route import Before, Contract, Route
from shared.preconditions import IfMatchMalformed
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
from shared.sunset.rules import stays_open

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
"""The problems every operation can meet."""

WITH_BODY: tuple[type[Problem], ...] = (MalformedJson, PayloadTooLarge, UnsupportedEncoding, UnsupportedMediaType)


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
        etag: bool = False,
        also: Mapping[int, str] | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """`open` lets callers in without a token: what such a route trusts, it checks by itself.

        `unkept` keeps no answer under an idempotency key, for what must not be kept at all. `audit` is the kind of the
        entry each call leaves: a change, if nothing is said; a question leaves one of a look where it shows somebody's
        data, and one of another kind always. `before` surrounds the transaction, for what takes longer than one may.

        `etag` says that the answer carries an ETag. `also` names other statuses with the same answer, and when.
        """
        if audit is None and method != "GET":
            audit = Kind.CHANGE

        def declare(endpoint: Endpoint) -> Endpoint:
            # What only our own services call is no part of the document that others read.
            options.setdefault("include_in_schema", role != Role.SERVICE)
            keyed = method == "POST" and status in (201, 202) and not client_ids and not open
            endpoint = strictly(endpoint)
            collects = not stays_open(method, self.prefix + path)
            problems = _problems(method, endpoint, [*raises, *([Sunset] if collects else [])], open)
            if open or unkept:
                problems = tuple(kind for kind in problems if kind not in idempotency.PROBLEMS)
            contract = Contract(role, problems, keyed, location, open, unkept, audit, collects, before)
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
                **_told(endpoint),
                **options,
            )
            self.routes[-1].siblings = self.routes  # type: ignore[attr-defined]
            return endpoint

        return declare


def _told(endpoint: Callable[..., Any]) -> dict[str, Any]:
    """What the docstring says of an operation: its first line is the summary."""
    summary, _, rest = inspect.cleandoc(endpoint.__doc__ or "").partition("\n")
    if not summary:
        raise TypeError(f"{endpoint.__name__} needs a docstring: it is the operation's summary")
    return {
        "operation_id": endpoint.__name__,
        "summary": summary.rstrip("."),
        "description": rest.strip() or summary,
    }


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
    if IfMatch in asked or IfMatchRequired in asked:
        problems.update((VersionMismatch, IfMatchMalformed))
    if IfMatchRequired in asked:
        problems.add(PreconditionRequired)
    if method != "GET":
        problems.update(WITH_BODY, idempotency.PROBLEMS)
    return tuple(problems - {Unauthenticated, Forbidden} if is_open else problems)


IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETags that the caller has; if one is that of the answer, the answer is 304 without a body.",
    "schema": {"type": "string"},
}


def _responses(
    contract: Contract, method: str, status: int, etag: bool, also: dict[int | str, dict[str, Any]]
) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {**openapi_responses(contract.problems), **also}
    headers = openapi_headers(["ETag"]) if etag else {}
    if contract.location:
        headers["Location"] = {"description": "Where what was made is found.", "schema": {"type": "string"}}
    if headers:
        responses[status] = {"headers": headers}
    if etag and method == "GET":
        responses[304] = {"description": "Not modified: the caller has it.", "headers": openapi_headers(["ETag"])}
    return responses


def _same(endpoint: Callable[..., Any], also: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Other statuses that an operation answers with what it returns."""
    answer = inspect.signature(endpoint, eval_str=True).return_annotation
    return {status: {"description": when, "model": answer} for status, when in also.items()}


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


def _if_match_header(more: str, **schema: Any) -> Any:
    described = f"The ETag seen last; several in a list (RFC 9110, 13.1.1). {more}"
    return Header(alias="If-Match", description=described, max_length=1_000, json_schema_extra=schema)


async def _if_match(
    request: Request,
    given: Annotated[str | None, _if_match_header("Left out or `*` changes any version.")] = None,
) -> str | None:
    return None if given is None else ",".join(request.headers.getlist("if-match"))


async def _if_match_required(
    request: Request,
    given: Annotated[str | None, _if_match_header("`*` changes any version.", **MUST)] = None,
) -> str | None:
    return await _if_match(request, given)


IfMatch: TypeAlias = Annotated[str | None, Depends(_if_match)]
"""The version a change starts from, if the caller says which."""

IfMatchRequired: TypeAlias = Annotated[str | None, Depends(_if_match_required)]
"""The version a change starts from, without which it is refused: `work.expect(row, if_match, required=True)`."""
