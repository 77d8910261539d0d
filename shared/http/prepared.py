"""Answers that are made once and sent often: documents and pages, compressed once, with an ETag."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shared.preconditions import is_known

JSON = "application/json"


@dataclass(frozen=True)
class Prepared:
    """The bytes of one answer, as they are and compressed: two forms, each with its ETag (RFC 9110, 8.8.3.3)."""

    body: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def etags(self) -> tuple[str, str]:
        """Of the plain bytes and of the compressed ones."""
        digest = hashlib.sha256(self.body).hexdigest()[:32]
        return f'"{digest}"', f'"{digest}-gzip"'

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The answer to one request: compressed if the caller takes that, 304 if the caller has it already."""
        is_compressed = takes_gzip(request.headers.get("accept-encoding", ""))
        vary = [name for name in (headers.get("vary"), "accept-encoding") if name]
        told = {**headers, "vary": ", ".join(vary), "etag": self.etags[is_compressed]}
        known = request.headers.get("if-none-match", "").encode("latin-1")
        if any(is_known(known, etag.encode("latin-1")) for etag in self.etags):  # whichever form the caller has
            return Response(status_code=304, headers=told)
        if is_compressed:
            told["content-encoding"] = "gzip"
        return Response(self.compressed if is_compressed else self.body, media_type=self.media_type, headers=told)


class Once:
    """What was made of something, until there is another thing to make it of. Things are told apart by identity."""

    def __init__(self) -> None:
        self._of: object = None
        self._made: Prepared | None = None

    def of(self, source: Any, make: Callable[[Any], bytes] = msgspec.json.encode, media_type: str = JSON) -> Prepared:
        """The same as last time if it is made of the same."""
        if self._made is None or self._of is not source:
            self._of, self._made = source, Prepared(make(source), media_type)
        return self._made


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110, 12.5.3) lets us compress."""
    wishes = {}
    for element in accept_encoding.lower().split(","):
        coding, _, parameter = (part.strip() for part in element.partition(";"))
        quality = parameter.replace(" ", "").removeprefix("q=") or "1"
        wishes[coding] = quality.strip("0.") != ""
    return wishes.get("gzip", wishes.get("*", False))
