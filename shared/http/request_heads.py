"""A cache of parsed request heads of hot routes, by their bytes.

A head is cached only if the request arrived in one read and was not pipelined, if the answer was not an error, so that
unauthenticated clients cannot evict entries, and if the same head has arrived before. A head contains a token, as the
token cache does. This grants nothing, because the caller is authenticated on every request.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

END = b"\r\n\r\n"
MOST = 1_024
"""Cached heads per route, so that a busy route does not evict the heads of a quiet one."""
LONGEST_BYTES = 2_048
MOST_LINES = 32
"""Lines of a cached head. The limits bound the memory of the cache."""
MOST_SEEN = 16_384
"""Hashes of heads that have arrived once."""

Head = TypeVar("Head")


class KnownHead(NamedTuple, Generic[Head]):
    """A parsed head."""

    head: Head
    size: int
    """Bytes of the head."""
    whole_size: int
    """Bytes of the head and of the body that it announces."""


class RequestHeadCache(Generic[Head]):
    """The cached heads of an application's hot routes."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead[Head]] = {}
        self._kept: defaultdict[Hashable, deque[bytes]] = defaultdict(deque)
        self._seen: set[int] = set()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._known)

    def find(self, data: bytes) -> KnownHead[Head] | None:
        """Return the cached head if the data is exactly one whole request with a cached head."""
        known = self._known.get(data[: data.find(END) + len(END)])
        return known if known is not None and known.whole_size == len(data) else None

    def keep(self, data: bytes, body: bytes, head: Head, route: Hashable) -> None:
        """Cache the head of a route's request if the data is exactly this head and its body."""
        size = data.find(END) + len(END)
        text = data[:size]
        is_small = size <= LONGEST_BYTES and text.count(b"\n") <= MOST_LINES
        if not is_small or data[size:] != body or text in self._known or not self._has_come_before(text):
            return
        kept = self._kept[route]
        if len(kept) >= MOST:
            del self._known[kept.popleft()]
        kept.append(text)
        self._known[text] = KnownHead(head, size, len(data))

    def _has_come_before(self, text: bytes) -> bool:
        digest = hash(text)
        if digest in self._seen:
            return True
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen.add(digest)
        return False
