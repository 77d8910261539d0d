"""Exception handlers: every failure becomes a problem that reveals no more than the caller may know."""

import json
import re
from typing import Any, cast

import sqlalchemy.exc
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope

from shared.core.actors import Actor, Role
from shared.http.failures import account_of, causes, problem_of
from shared.http.openapi_schemas import tidied
from shared.http.validation_messages import problem_of_validation
from shared.problems import (
    MEDIA_TYPE,
    Forbidden,
    InternalError,
    InvalidInput,
    MalformedRequest,
    MethodNotAllowed,
    NoSuchPath,
    NotAcceptable,
    PayloadTooLarge,
    PreconditionRequired,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    UpstreamFailed,
    UpstreamTimeout,
    VersionMismatch,
    language_of,
    openapi_examples,
    openapi_header_components,
    openapi_schemas,
)

logger = structlog.get_logger()


class BrokenOff(RuntimeError):  # noqa: N818 - says what happened
    """An answer could not be completed after it had started. It makes the server close the connection."""


_EXAMPLE = re.compile(r"#/components/examples/(\w+)")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_BY_STATUS: dict[int, type[Problem]] = {
    kind.status: kind
    for kind in (
        MalformedRequest,
        Unauthenticated,
        Forbidden,
        NoSuchPath,
        NotAcceptable,
        VersionMismatch,
        PayloadTooLarge,
        UnsupportedMediaType,
        InvalidInput,
        PreconditionRequired,
        TooManyRequests,
        UpstreamFailed,
        Unavailable,
        UpstreamTimeout,
    )
}


def install(app: FastAPI) -> None:
    """Answer every exception of an application as a problem, and add the problem schemas to its OpenAPI document.

    Call it after all other code that replaces `app.openapi`.
    """
    # Starlette finds a handler by the class of the exception. The last one, for all others, becomes the outermost.
    handled: tuple[type[Exception], ...] = (Problem, sqlalchemy.exc.SQLAlchemyError, OSError, Exception)
    for kind in handled:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    _describe(app)


async def _answer(request: Request, error: Exception) -> Response:
    return respond(request.scope, error)


async def _answer_validation(request: Request, error: Exception) -> Response:
    fault = cast("RequestValidationError", error)
    return problem_response(request.scope, problem_of_validation(fault, request.headers.get("content-type")))


async def _answer_http(request: Request, error: Exception) -> Response:
    # FastAPI wraps every exception from reading the body into a plain 400.
    cause = error.__cause__
    if cause is not None and not isinstance(problem_of(cause), InternalError):
        return respond(request.scope, cause)
    status = cast("HTTPException", error).status_code
    if status == 405:
        return _wrong_method(request.scope)
    if request.scope["method"] == "OPTIONS" and request.scope["path"] == "*":  # the options of the whole server
        return Response(status_code=204, headers={"Allow": ", ".join((*_METHODS, "HEAD", "OPTIONS"))})
    if status < 400:
        return Response(status_code=status, headers=cast("HTTPException", error).headers)
    kind = _BY_STATUS.get(status, InternalError if status >= 500 else MalformedRequest)
    return problem_response(request.scope, kind.unspecified())


def _wrong_method(scope: Scope) -> Response:
    allow = _allowed(scope)
    if scope["method"] == "OPTIONS":
        return Response(status_code=204, headers={"Allow": allow})
    return problem_response(scope, MethodNotAllowed(allow=allow))


def _allowed(scope: Scope) -> str:
    """Return the methods that all routes of a path support together."""
    routes: list[BaseRoute] = [route for route in scope["app"].routes if not isinstance(route, Mount)]
    methods = [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


def respond(scope: Scope, error: BaseException) -> Response:
    """Build the answer to an exception. An internal error is logged with its code location, but not its message."""
    if isinstance(error, BrokenOff) or has_left(error):
        return Response(status_code=400)  # the client has disconnected and will not read it
    problem = problem_of(error)
    if isinstance(problem, InternalError):
        logger.error("request_failed", request_id=request_id_of(scope), **account_of(error))
    elif problem.status >= 500 and not isinstance(error, Problem):
        account = account_of(error)
        account.pop("trace")
        logger.warning("request_unavailable", request_id=request_id_of(scope), **account)
    return problem_response(scope, problem)


def has_left(error: BaseException) -> bool:
    """Whether an exception only reports that the client disconnected."""
    return any(isinstance(cause, ClientDisconnect) for cause in causes(error))


def problem_response(scope: Scope, problem: Problem) -> Response:
    """Build the answer for a problem, in the caller's language."""
    language = language_of(_header(scope, b"accept-language"))
    actor = scope.get("state", {}).get("actor")
    is_resident = isinstance(actor, Actor) and actor.role is Role.RESIDENT
    status, headers, body = problem.render(language, request_id_of(scope), is_resident=is_resident)
    # A value may contain half a surrogate pair, or a line break in a header. It must not cause another error here.
    content = json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")
    plain = {name: " ".join(value.encode("ascii", "replace").decode().split()) for name, value in headers.items()}
    return Response(content, status, plain, MEDIA_TYPE)


def request_id_of(scope: Scope) -> str:
    """Return the id of the request, or an empty text if it has none."""
    return str(scope.get("state", {}).get("request_id", ""))


def _header(scope: Scope, name: bytes) -> str | None:
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values) or None


def _describe(app: FastAPI) -> None:
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        if "ProblemDetails" not in schemas:
            schemas.update(tidied(openapi_schemas()))
            components["headers"] = openapi_header_components()
            components["examples"] = openapi_examples(set(_EXAMPLE.findall(json.dumps(document["paths"]))))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
