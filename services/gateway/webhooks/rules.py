"""Webhooks: what an answer means, when to try again, and whether an endpoint works. Pure."""

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits between the attempts at one event, three days in all. Source: Standard Webhooks 1.0, retry schedule."""

LONGEST_PAUSE_SECONDS = 300
LONGEST_RETRY_AFTER_SECONDS = 3_600
GIVE_UP_AFTER = timedelta(days=5)
"""An endpoint that fails for so long is disabled."""

FAILURES_IN_A_ROW = 3
ERRORS_IN_A_ROW = 20


class AttemptResult(enum.Enum):
    """The result of one attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The endpoint answered, and did not take this event."""
    UNAVAILABLE = "unavailable"
    """The endpoint did not answer, or takes nothing at present."""
    GONE = "gone"
    """The endpoint wants no more events."""


class Outcome(NamedTuple):
    """One attempt at one event."""

    kind: AttemptResult
    status: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None


def result_of(status: int) -> AttemptResult:
    """What a status means. A redirect is a refusal, because a new address must be registered."""
    if 200 <= status < 300:
        return AttemptResult.DELIVERED
    if status == 410:
        return AttemptResult.GONE
    return AttemptResult.UNAVAILABLE if status in (429, 502, 503, 504) else AttemptResult.REFUSED


def retry_after_of(value: str | None) -> float | None:
    """The seconds of a Retry-After header, an hour at most. None for a date."""
    if value is None or not value.isascii() or not value.isdigit():
        return None
    return float(min(int(value[:9]), LONGEST_RETRY_AFTER_SECONDS))


def retry_in(attempts: int) -> timedelta | None:
    """How long to wait after so many attempts at one event. None after the last."""
    return timedelta(seconds=RETRY_SECONDS[attempts - 1]) if attempts <= len(RETRY_SECONDS) else None


def pause_for(failures: int) -> timedelta:
    """How long to leave an endpoint alone after so many failures in a row."""
    return timedelta(seconds=min(LONGEST_PAUSE_SECONDS, 2 ** min(failures - 1, 30)))


@dataclass
class RetryState:
    """The outcomes of a batch by event, and whether the endpoint works.

    A failure counts against the endpoint only if no other event was delivered while it was tried. Otherwise one event
    on which an endpoint hangs would look like an endpoint that is down.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    gone: bool = False
    error: str | None = None
    retry_after_seconds: float = 0.0
    _delivered_at: float = -1.0
    _failures: int = 0
    _errors: int = 0

    def note(self, event_id: str, outcome: Outcome, began_at: float, now: float) -> None:
        """Count an attempt. Both times are of one monotonic clock, in seconds."""
        self.outcomes[event_id] = outcome
        if outcome.kind is AttemptResult.DELIVERED:
            self._delivered_at, self._failures, self._errors = now, 0, 0
        elif outcome.kind is AttemptResult.GONE:
            self.gone = True
        elif outcome.kind is AttemptResult.UNAVAILABLE and began_at >= self._delivered_at:
            self._failures += 1
            self.error = outcome.error or str(outcome.status)
            self.retry_after_seconds = outcome.retry_after_seconds or 0.0
        elif outcome.kind is AttemptResult.REFUSED and (outcome.status or 0) >= 500:
            self._errors += 1
            self.error = str(outcome.status)

    @property
    def delivered_any(self) -> bool:
        """Whether an event was delivered."""
        return self._delivered_at >= 0

    @property
    def unreachable(self) -> bool:
        """Whether the endpoint does not answer."""
        return self._failures >= FAILURES_IN_A_ROW or (self._failures > 0 and not self.delivered_any)

    @property
    def stopped(self) -> bool:
        """Whether further attempts make no sense now."""
        return self.gone or self._failures >= FAILURES_IN_A_ROW or self._errors >= ERRORS_IN_A_ROW

    @property
    def failed(self) -> bool:
        """Whether the endpoint is to be left alone after this batch."""
        return self.stopped or self.unreachable

    def settled(self, event_id: str) -> Outcome | None:
        """The outcome of an event, or None if it counts as not tried because the endpoint failed as a whole."""
        outcome = self.outcomes.get(event_id)
        if (
            outcome is None
            or outcome.kind is AttemptResult.GONE
            or (outcome.kind is AttemptResult.UNAVAILABLE and self.unreachable)
        ):
            return None
        return outcome
