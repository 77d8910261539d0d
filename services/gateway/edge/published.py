"""Public documents that rarely change. They have an ETag, so that clients can revalidate them (304)."""

from hashlib import sha256
from typing import Any

from starlette.responses import JSONResponse

from shared.http.preconditions import etag_of


def published(content: Any, seconds: int = 60) -> JSONResponse:
    """Return a document as JSON that clients may cache for some seconds."""
    answer = JSONResponse(content)
    answer.headers["etag"] = etag_of(sha256(bytes(answer.body)).hexdigest()[:32])
    answer.headers["cache-control"] = f"public, max-age={seconds}"
    return answer
