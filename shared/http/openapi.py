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
    """Link every 201 and 202 to the GET that its Location leads to, so that tools can walk the API."""
    items = {PARAMETER.sub("{}", path): path for path, found in document["paths"].items() if "get" in found}
    for operations in document["paths"].values():
        post = operations.get("post", {})
        location = post.pop("x-location", "")
        item = items.get(PARAMETER.sub("{}", location))
        if item is None:
            continue
        values = zip(PARAMETER.findall(item), PARAMETER.findall(location), strict=True)
        link = {
            "operationId": document["paths"][item]["get"]["operationId"],
            "parameters": {name: f"$response.body#/{said}" for name, said in values},
        }
        for status in ("201", "202"):
            if status in post["responses"]:
                post["responses"][status]["links"] = {"self": link}
