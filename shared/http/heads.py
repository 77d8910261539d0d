"""Heads of requests to hot routes, remembered by their bytes as they were read: the same bytes always read the same.

Only of requests that came whole and in order, so whose end is where the reader of HTTP has found it. A head holds a
token, as the memory of tokens does; it opens nothing by itself: who asks is looked at with every request.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

END = b"\r\n\r\n"
MOST = 1_024
"""Of each route, so that one asked by everybody does not push out those of one asked by a few."""
LONGEST_BYTES = 2_048
"""Of a head: what all of them may take is bounded."""

Head = TypeVar("Head")


class KnownHead(NamedTuple, Generic[Head]):
    """A head as it was read."""

    head: Head
    size: int
    """Bytes of the head."""
    whole_size: int
    """Bytes of it and of the body it announces."""


class Heads(Generic[Head]):
    """The heads that an application's hot routes were asked with."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead[Head]] = {}
        self._kept: defaultdict[Hashable, deque[bytes]] = defaultdict(deque)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._known)

    def find(self, came: bytes) -> KnownHead[Head] | None:
        """The head of what came, if that is one whole request whose head is known, and nothing else."""
        found = self._known.get(came[: came.find(END) + len(END)])
        return found if found is not None and found.whole_size == len(came) else None

    def keep(self, came: bytes, body: bytes, head: Head, route: Hashable) -> None:
        """Remember the head of a route's request, if what came was it and its body and nothing else."""
        size = came.find(END) + len(END)
        text = came[:size]
        if size > LONGEST_BYTES or came[size:] != body or text in self._known:
            return
        kept = self._kept[route]
        if len(kept) >= MOST:
            del self._known[kept.popleft()]
        kept.append(text)
        self._known[text] = KnownHead(head, size, len(came))
