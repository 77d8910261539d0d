"""The OpenAPI document: links from what an operation makes to where it is found, so that tools can walk the API."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

PARAMETER = re.compile(r"{(\w+)}")


def describe(app: FastAPI) -> None:
    """Let the application make its document once, when first asked."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            add_links(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def add_links(document: dict[str, Any]) -> None:
    """Link every 201 and 202 to the GET of the same collection's item, so that tools can walk the API."""
    for path, operations in document["paths"].items():
        post = operations.get("post")
        item = next((other for other in document["paths"] if _is_item_of(other, path)), None)
        if post is None or item is None or "get" not in document["paths"][item]:
            continue
        name = PARAMETER.findall(item)[-1]
        link = {
            "operationId": document["paths"][item]["get"]["operationId"],
            "parameters": {name: "$response.body#/id"},
        }
        for status in ("201", "202"):
            if status in post["responses"]:
                post["responses"][status]["links"] = {"self": link}


def _is_item_of(path: str, collection: str) -> bool:
    return path.startswith(collection + "/{") and path.endswith("}") and "/" not in path[len(collection) + 1 :]
