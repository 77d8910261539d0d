"""Documents that are published to everybody and change seldom: with an ETag, and 304 for who has them already."""

from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


def published(request: Request, content: Any, seconds: int = 60) -> Response:
    """A document as JSON that may be kept for so long, or 304 (RFC 9110, 13.1.2)."""
    answer = JSONResponse(content)
    tag = f'"{sha256(bytes(answer.body)).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": f"public, max-age={seconds}"}
    if _has(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


def _has(fields: list[str], tag: str) -> bool:
    """Whether a tag is among those of If-None-Match; the comparison is weak, as that header asks."""
    said = [one.strip().removeprefix("W/") for field in fields for one in field.split(",")]
    return tag in said or "*" in said
