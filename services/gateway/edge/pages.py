"""Public pages of the edge: the merged OpenAPI document, problems, readiness and public keys."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.edge.documents import Documents
from services.gateway.edge.internal_tokens import Issuer
from services.gateway.edge.published import published
from services.gateway.edge.reference.routes import Reference
from shared.contracts.asyncapi import asyncapi, resources, schema_of
from shared.contracts.resource import schema_path
from shared.http.prepared import JSON, Once, Prepared
from shared.problems import NoSuchPath, language_of
from shared.runtime.context import ServiceContext

PublicKeys = Callable[[], Sequence[dict[str, Any]]]

MINUTE = {"cache-control": "public, max-age=60"}
NOT_KEPT = {"cache-control": "no-store"}


def routes(context: ServiceContext, issuer: Issuer, public_keys: PublicKeys = lambda: ()) -> Sequence[BaseRoute]:
    """Return the routes of the pages. `public_keys` returns the keys of codes, in addition to the issuer's keys."""
    documents: list[Documents] = []

    def of(request: Request) -> Documents:
        if not documents:
            documents.append(Documents(context, request.app.openapi))
        return documents[0]

    merged = Once()

    async def openapi(request: Request) -> Response:
        document = await of(request).openapi()
        # Do not let clients cache a document in which a service is missing because it is still starting.
        return merged.of(document).answer(request, MINUTE if of(request).is_whole else NOT_KEPT)

    async def events(request: Request) -> Response:
        return _events().answer(request, MINUTE)

    async def problems(request: Request) -> Response:
        language = language_of(request.headers.get("accept-language"))
        return _localized(list((await of(request).problems(language)).values()), language)

    async def problem(request: Request) -> Response:
        language = language_of(request.headers.get("accept-language"))
        content = (await of(request).problems(language)).get(request.path_params["code"])
        if content is None:
            raise NoSuchPath()
        return _localized(content, language)

    async def status(request: Request) -> Response:
        return JSONResponse(await of(request).status())

    async def keys(_: Request) -> Response:
        return published({"keys": [*issuer.public, *public_keys()]})

    pages: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/openapi.json": openapi,
        "/asyncapi.json": events,
        "/schemas/{name}": partial(_schema, context),
        "/problems": problems,
        "/problems/{code}": problem,
        "/status": status,
        "/.well-known/jwks.json": keys,
    }
    return [
        *(Route(path, page, methods=["GET"]) for path, page in pages.items()),
        *Reference(of).routes(),
    ]


@cache
def _events() -> Prepared:
    return Prepared(msgspec.json.encode(asyncapi()), JSON)


async def _schema(context: ServiceContext, request: Request) -> Response:
    """Return the JSON Schema of a resource type. Events refer to this URL as `dataschema`."""
    path = request.url.path
    resource = next((one for one in resources() if schema_path(one.type) == path), None)
    if resource is None:
        raise NoSuchPath()
    content = schema_of(resource, context.settings.issuer_url + path)
    return JSONResponse(content, headers=MINUTE, media_type="application/schema+json")


def _localized(content: Any, language: str) -> Response:
    return JSONResponse(content, headers={**MINUTE, "content-language": language, "vary": "accept-language"})
