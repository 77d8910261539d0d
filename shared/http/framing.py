"""Checks of a request head before the application sees it, and reading after an ignored upgrade offer.

The parser (llhttp) checks the syntax. This module adds the other checks that RFC 9110 and RFC 9112 require of a server.
"""

import re
from typing import Any, Protocol

from shared.problems import LocalizedText, MalformedRequest, Problem

HEAD_BYTES = 64 << 10
"""The most bytes of a head that are read after the read in which it began. The application allows less."""

LOOKED_AT = frozenset({b"expect", b"host", b"transfer-encoding"})
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
VERSIONS = ("1.1", "1.0")

# What a host and its port may consist of (RFC 3986, 3.2.2); it may be empty (RFC 9112, 3.2).
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_REQUEST_LINE = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+) [\x21-\x7e]+ HTTP/1\.[01]\r?$", re.MULTILINE)


class HostInvalid(Problem):
    """The request does not have exactly one valid Host header field, as HTTP/1.1 requires (RFC 9112, 3.2)."""

    status = 400
    code = "host_invalid"
    title = LocalizedText(zh="Host 请求头缺失、重复或有误", en="The Host header is missing, repeated or invalid")
    fix = LocalizedText(zh="请只发送一个 Host 请求头", en="Send exactly one Host header")


class MethodUnknown(Problem):
    """The server does not implement the method (RFC 9110, 9.1)."""

    status = 501
    code = "method_unknown"
    title = LocalizedText(zh="服务器不支持该请求方法", en="The server does not support this method")
    fix = LocalizedText(
        zh="请使用 GET、HEAD、POST、PUT、PATCH、DELETE 或 OPTIONS",
        en="Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
    )


class TransferCodingUnknown(Problem):
    """The transfer coding is not `chunked` (RFC 9112, 6.1)."""

    status = 501
    code = "transfer_coding_unknown"
    title = LocalizedText(zh="服务器不支持该传输编码", en="The server does not support this transfer coding")
    fix = LocalizedText(
        zh="请使用 Content-Length 或 Transfer-Encoding: chunked", en="Use Content-Length or Transfer-Encoding: chunked"
    )


class VersionUnsupported(Problem):
    """The server does not support the HTTP version (RFC 9110, 15.6.6)."""

    status = 505
    code = "http_version_unsupported"
    title = LocalizedText(zh="服务器不支持该 HTTP 版本", en="The server does not support this HTTP version")
    fix = LocalizedText(zh="请使用 HTTP/1.1", en="Use HTTP/1.1")


class RefusedError(Exception):
    """Raised in a callback to stop the parser. The protocol stores the problem."""


class Framing:
    """The header fields of one request that determine its framing."""

    __slots__ = ("codings", "expects_continue", "hosts")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Reset for the next request."""
        self.hosts: list[bytes] = []
        self.codings: list[bytes] = []
        self.expects_continue = False

    def look_at(self, name: bytes, value: bytes) -> None:
        """Record a header field whose name is in `LOOKED_AT`."""
        if name == b"host":
            self.hosts.append(value)
        elif name == b"transfer-encoding":
            self.codings.append(value)
        elif value.lower() == b"100-continue":
            self.expects_continue = True

    def fault(self, version: str) -> Problem | None:
        """Return the problem of the head, or None."""
        if version not in VERSIONS:
            return VersionUnsupported()
        hosts = self.hosts
        if len(hosts) > 1 or (not hosts and version == "1.1") or (hosts and not _HOST.fullmatch(hosts[0])):
            return HostInvalid()
        if self.codings:
            if version != "1.1":  # RFC 9112, 6.1: treat the framing of such a message as faulty
                return MalformedRequest()
            if [coding.lower() for coding in self.codings] != [b"chunked"]:
                return TransferCodingUnknown()
        return None


def of_unknown_method(data: bytes) -> Problem:
    """Return the problem of a request whose method the parser refused: 501 for a method, 400 for anything else.

    The parser does not report the position, so every line of the data counts. This affects only the status.
    """
    is_method = any(method not in METHODS for method in _REQUEST_LINE.findall(data))
    return MethodUnknown() if is_method else MalformedRequest()


class Callbacks(Protocol):
    """The callbacks of the parser."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class AfterHead:
    """The callbacks of a parser that continues after a head that another parser has read.

    llhttp stops at a request that offers an upgrade. It does not read the body, and would take it for the next request.
    This server ignores the offer (RFC 9110, 7.8), so a new parser continues. It is first fed a short head with the same
    framing (`head_with`), which is not reported. The body and all later requests are reported as usual. The same kind
    of parser therefore decides where the body ends, with or without an upgrade offer.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._is_in_head = True
        self.on_body = callbacks.on_body
        self.on_message_complete = callbacks.on_message_complete

    def on_message_begin(self) -> None:
        if not self._is_in_head:
            self._callbacks.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_in_head:
            self._callbacks.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            self._callbacks.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_in_head:
            self._is_in_head = False
        else:
            self._callbacks.on_headers_complete()


def head_with(headers: Any, version: str, keep_alive: bool) -> bytes:
    """Build a head with the same framing: the version, the length or coding, and whether the connection closes."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] in (b"content-length", b"transfer-encoding")]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"POST / HTTP/%b\r\n%b\r\n" % (version.encode("ascii"), b"".join(lines))
