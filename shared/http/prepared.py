"""Answers that are built and compressed once and sent often, with an ETag: documents and pages."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shared.http.preconditions import is_known

JSON = "application/json"


@dataclass(frozen=True)
class Prepared:
    """The bytes of one answer, plain and compressed. Each form has its own ETag (RFC 9110, 8.8.3.3)."""

    body: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def etags(self) -> tuple[str, str]:
        """The ETags of the plain and the compressed bytes."""
        digest = hashlib.sha256(self.body).hexdigest()[:32]
        return f'"{digest}"', f'"{digest}-gzip"'

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Answer one request: compressed if the caller accepts gzip, 304 if the caller already has the content."""
        is_compressed = takes_gzip(request.headers.get("accept-encoding", ""))
        vary = [name for name in (headers.get("vary"), "accept-encoding") if name]
        sent = {**headers, "vary": ", ".join(vary), "etag": self.etags[is_compressed]}
        known = request.headers.get("if-none-match", "").encode("latin-1")
        if any(is_known(known, etag.encode("latin-1")) for etag in self.etags):  # the caller may have either form
            return Response(status_code=304, headers=sent)
        if is_compressed:
            sent["content-encoding"] = "gzip"
        return Response(self.compressed if is_compressed else self.body, media_type=self.media_type, headers=sent)


class Once:
    """Caches the answer built from one source object. Another object, compared by identity, replaces it."""

    def __init__(self) -> None:
        self._of: object = None
        self._made: Prepared | None = None

    def of(self, source: Any, make: Callable[[Any], bytes] = msgspec.json.encode, media_type: str = JSON) -> Prepared:
        """Return the cached answer if the source is the same object; otherwise build it."""
        if self._made is None or self._of is not source:
            self._of, self._made = source, Prepared(make(source), media_type)
        return self._made


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110, 12.5.3) allows gzip."""
    wishes = {}
    for element in accept_encoding.lower().split(","):
        coding, _, parameter = (part.strip() for part in element.partition(";"))
        quality = parameter.replace(" ", "").removeprefix("q=") or "1"
        wishes[coding] = quality.strip("0.") != ""
    return wishes.get("gzip", wishes.get("*", False))
