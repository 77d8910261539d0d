"""Our own load generator, so that the benchmarks run wherever Fangxian runs.

Each connection sends its next request after the answer to the previous one (a closed loop, HTTP/1.1 keep-alive). The
generator reads only the status, the length and the body of an answer. The page shows how close the generator is to its
own limit: its rate with an empty ASGI application, and the load of its core.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

CONNECT_SECONDS = 10.0

Keep = Callable[[int, bytes], None]
"""Is shown the status and the body of each answer."""


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """One HTTP request as it goes over the line."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass
class Load:
    """What came of a load."""

    connections: int
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    """Seconds, shortest first."""
    accepted: list[float] = field(default_factory=list)
    """The same, of answers that are no refusals."""

    @property
    def count(self) -> int:
        """Answers."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        """Return a percentile of the latency in seconds; 0.5 is the median."""
        return self.latencies[min(self.count - 1, int(self.count * share))]

    def require(self, status: int) -> "Load":
        """Raise ValueError unless every answer has this status, so that errors are not measured."""
        if not self.count or set(self.statuses) != {status}:
            raise ValueError(f"answers should all be {status} and are {dict(self.statuses)}")
        return self


async def load(
    port: int,
    requests: Iterable[bytes],
    *,
    connections: int,
    seconds: float | None = None,
    keep: Keep | None = None,
) -> Load:
    """Send requests over several connections until there are no more, or until the deadline."""
    loop = asyncio.get_running_loop()
    done = Load(connections)
    source = iter(requests)
    lines = [_Line(loop, source, done, keep) for _ in range(connections)]
    for line in lines:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.create_connection(partial(_itself, line), "127.0.0.1", port)
    began = time.perf_counter()
    deadline = None if seconds is None else began + seconds
    for line in lines:
        line.begin(deadline)
    try:
        await asyncio.gather(*(line.ended for line in lines))
    finally:
        done.seconds = time.perf_counter() - began
        for line in lines:
            line.close()
    done.latencies.sort()
    done.accepted.sort()
    return done


def _itself(line: "_Line") -> "_Line":
    return line


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Iterator[bytes], done: Load, keep: Keep | None) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        self._source, self._done, self._keep = source, done, keep
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._size = -1
        """Bytes of the whole answer under way; -1 until its head has come."""
        self._body_from = 0
        self._deadline: float | None = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError("the server closed a connection in the middle of an answer"))

    def begin(self, deadline: float | None) -> None:
        """Send the first request."""
        self._deadline = deadline
        self._send()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        try:
            if self._size < 0 and not self._read_head():
                return
        except ValueError as error:
            self.ended.set_exception(error)
            self.close()
            return
        if len(self._buffer) >= self._size:
            self._answered()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].lower()
        length = head.find(b"\r\ncontent-length: ")
        if length < 0 and b"\r\ntransfer-encoding:" in head:
            raise ValueError("the generator reads no chunked answers")
        body = int(head[length + 18 :].split(b"\r\n", 1)[0]) if length >= 0 else 0
        self._body_from, self._size = end + 4, end + 4 + body
        return True

    def _answered(self) -> None:
        now = time.perf_counter()
        status = int(self._buffer[9:12])
        self._done.latencies.append(now - self._sent)
        if status < 400:
            self._done.accepted.append(now - self._sent)
        self._done.statuses[status] += 1
        if self._keep is not None:
            self._keep(status, self._buffer[self._body_from : self._size])
        self._buffer, self._size = b"", -1
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        following = None
        if self._deadline is None or self._sent < self._deadline:
            following = next(self._source, None)
        if following is None:
            if not self.ended.done():
                self.ended.set_result(None)
            return
        self._transport.write(following)
