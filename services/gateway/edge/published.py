"""Documents that are published to everybody and change seldom: with an ETag, so that a caller can ask again for 304."""

from hashlib import sha256
from typing import Any

from starlette.responses import JSONResponse

from shared.preconditions import etag_of


def published(content: Any, seconds: int = 60) -> JSONResponse:
    """A document as JSON that may be kept for so long."""
    answer = JSONResponse(content)
    answer.headers["etag"] = etag_of(sha256(bytes(answer.body)).hexdigest()[:32])
    answer.headers["cache-control"] = f"public, max-age={seconds}"
    return answer
