"""Webhooks: what an answer means, when to try again, and how far a reader has come. Pure."""

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits between the attempts at one event, three days in all. Source: Standard Webhooks 1.0, retry schedule."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
GIVE_UP_AFTER = timedelta(days=5)
"""An endpoint that has not answered for so long is switched off; somebody must look at it."""

LONGEST_RETRY_AFTER_SECONDS = 3_600
FAILURES_IN_A_ROW = 3
ERRORS_IN_A_ROW = 20
MOST_PARKED = 10_000
"""Events that wait for one endpoint; with so many it is not read for any further."""


class Kind(enum.Enum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """It answered, and did not take this event."""
    UNAVAILABLE = "unavailable"
    """It did not answer, or said that it takes nothing at present."""
    GONE = "gone"
    """It said that it wants nothing any more."""
    BEHIND = "behind"
    """Not tried, because an earlier event of the same subject was not taken."""


class Outcome(NamedTuple):
    """One attempt at one event."""

    kind: Kind
    status: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None


BEHIND = Outcome(Kind.BEHIND)


def kind_of(status: int) -> Kind:
    """What a status says. A redirect is a refusal: who moves says so by changing the endpoint."""
    if 200 <= status < 300:
        return Kind.DELIVERED
    if status == 410:
        return Kind.GONE
    return Kind.UNAVAILABLE if status in (429, 502, 503, 504) else Kind.REFUSED


def retry_after_of(value: str | None) -> float | None:
    """Seconds an endpoint asks us to wait, if it says so in seconds; an hour at most."""
    if value is None or not value.isascii() or not value.isdigit():
        return None
    return float(min(int(value[:9]), LONGEST_RETRY_AFTER_SECONDS))


def retry_in(attempts: int, chance: float) -> timedelta | None:
    """How long to wait after so many attempts at one event; None if that was the last. `chance` is of [0, 1)."""
    if attempts > len(RETRY_SECONDS):
        return None
    return timedelta(seconds=RETRY_SECONDS[attempts - 1] * (0.8 + 0.4 * chance))


def pause_for(failures: int, chance: float, asked_seconds: float | None = None) -> timedelta:
    """How long to leave an endpoint alone that failed so many times in a row."""
    doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30)
    seconds = min(LONGEST_PAUSE_SECONDS, doubled) * (0.8 + 0.4 * chance)
    return timedelta(seconds=max(seconds, asked_seconds or 0.0))


class OfSubject(Protocol):
    """An event, as far as its order matters."""

    @property
    def event_id(self) -> str:
        """The same however often it is read."""

    @property
    def type(self) -> str:
        """Its resource type."""

    @property
    def subject(self) -> UUID:
        """What it is about."""


E = TypeVar("E", bound=OfSubject)


def chains_of(events: Iterable[E]) -> deque[list[E]]:
    """The events by subject, each chain in its order: chains may go side by side, their links may not."""
    chains: dict[tuple[str, UUID], list[E]] = {}
    for event in events:
        chains.setdefault((event.type, event.subject), []).append(event)
    return deque(chains.values())


class Course(Generic[E]):
    """What a run of attempts has come to, and whether it makes sense to go on.

    A failure says something about the endpoint only if nothing else went through while it was tried: an event that an
    endpoint hangs on must not look like an endpoint that is down.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.stopped = False
        self.broken = False
        self.asked_seconds: float | None = None
        self._delivered_at = -1.0
        self._failures = 0
        self._errors = 0

    def note(self, event: E, outcome: Outcome, began_at: float, now: float) -> None:
        """Take an attempt into account. Times are of one monotonic clock."""
        self.outcomes[event.event_id] = outcome
        if outcome.kind is Kind.DELIVERED:
            self._delivered_at = now
            self._failures = self._errors = 0
        elif outcome.kind is Kind.GONE:
            self.stopped = True
        elif outcome.kind is Kind.UNAVAILABLE and began_at >= self._delivered_at:
            self._failures += 1
            self.asked_seconds = outcome.retry_after_seconds
            self.stopped = self.stopped or self._failures >= FAILURES_IN_A_ROW
        elif outcome.kind is Kind.REFUSED and (outcome.status or 0) >= 500:
            self._errors += 1
            self.broken = self._errors >= ERRORS_IN_A_ROW
            self.stopped = self.stopped or self.broken

    @property
    def delivered_any(self) -> bool:
        """Whether anything went through."""
        return self._delivered_at >= 0

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants nothing any more."""
        return any(outcome.kind is Kind.GONE for outcome in self.outcomes.values())

    @property
    def unreachable(self) -> bool:
        """Whether the endpoint as a whole does not answer."""
        return self._failures >= FAILURES_IN_A_ROW or (self._failures > 0 and not self.delivered_any)

    def settled(self, event: E) -> Outcome | None:
        """The outcome that is to be kept of an event; None if it is as if it had not been tried."""
        outcome = self.outcomes.get(event.event_id)
        if outcome is None or outcome.kind is Kind.GONE:
            return None
        passing = outcome.kind in (Kind.UNAVAILABLE, Kind.BEHIND) and self.unreachable
        return None if passing else outcome


def read_up_to(cursors: Sequence[str], is_settled: Sequence[bool], before: str, after: str) -> str:
    """How far a batch has been dealt with: its end, or the place of the last event before the first open one."""
    if all(is_settled):
        return after
    first_open = is_settled.index(False)
    return cursors[first_open - 1] if first_open else before
