"""Every answer that a test gets from a service is held against the service's own OpenAPI document."""

import re
from functools import cached_property
from typing import Any

import httpx
from fastapi import FastAPI

LOOKED_AT = (
    "allow",
    "content-language",
    "etag",
    "location",
    "retry-after",
    "vary",
    "www-authenticate",
)
"""Header fields that a client acts on."""


class Documented:
    """What one service's document says that it answers."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
        """The paths, those without parameters first."""
        found = sorted(self._app.openapi()["paths"].items(), key=lambda item: item[0].count("{"))
        return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), item) for path, item in found]

    async def check(self, response: httpx.Response) -> None:
        """Raise an AssertionError for a status or a header that the operation is not documented to answer."""
        request = response.request
        method = "get" if request.method == "HEAD" else request.method.lower()
        operation = self._operation(request.url.path, method)
        if operation is None or "default" in operation["responses"]:
            return
        documented = operation["responses"].get(str(response.status_code))
        what = f"{request.method} {request.url.path}: {response.status_code}"
        if documented is None:
            raise AssertionError(f"{what} is not in the OpenAPI document")
        named = {name.lower() for name in documented.get("headers", {})}
        for name in LOOKED_AT:
            if name in response.headers and name not in named:
                raise AssertionError(f"{what} has the header {name}, which is not in the OpenAPI document")

    def _operation(self, path: str, method: str) -> dict[str, Any] | None:
        item = next((item for pattern, item in self._paths if pattern.fullmatch(path)), {})
        found: dict[str, Any] | None = item.get(method)
        return found
