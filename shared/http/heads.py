"""Heads of requests to hot routes, remembered by their bytes as they were read: the same bytes always read the same.

Only of requests that came whole and in order, so whose end is where the reader of HTTP has found it. A head holds a
token, as the memory of tokens does; it opens nothing by itself: who asks is looked at with every request.
"""

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from shared.http.hot import Head

END_OF_HEAD = b"\r\n\r\n"
MOST = 1_024
"""Of each route, so that one asked by everybody does not push out those of one asked by a few."""
LONGEST_BYTES = 2_048
"""Of a head: what all of them may take is bounded."""


class KnownHead(NamedTuple):
    """A head as it was read."""

    head: "Head"
    size: int
    """Bytes of the head."""
    whole_size: int
    """Bytes of it and of the body it announces."""


Known = dict[bytes, KnownHead]


class Heads:
    """The heads of one route."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._kept: deque[bytes] = deque()

    def keep(self, came: bytes, head: "Head", body: bytes) -> None:
        """Remember a head, if what came was it and its body and nothing else, and nothing was wrong with it."""
        size = came.find(END_OF_HEAD) + len(END_OF_HEAD)
        text = came[:size]
        if head.fault is not None or size > LONGEST_BYTES or came[size:] != body or text in self._known:
            return
        if len(self._kept) >= MOST:
            del self._known[self._kept.popleft()]
        self._kept.append(text)
        self._known[text] = KnownHead(head, size, len(came))


def find(known: Known, came: bytes) -> KnownHead | None:
    """The head of what came, if it is a request with one that is known, whole, and nothing else."""
    found = known.get(came[: came.find(END_OF_HEAD) + len(END_OF_HEAD)])
    return found if found is not None and found.whole_size == len(came) else None
