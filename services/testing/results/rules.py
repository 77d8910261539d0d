"""Results: what becomes of a laboratory's report. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from shared.contracts.testing import Outcome, TubeState

Refused = Literal[
    "clock_ahead", "tube_unknown", "tube_not_sealed", "tube_not_received", "tube_discarded", "result_outdated"
]


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a laboratory."""

    outcome: Outcome
    revision: int
    tested_at: datetime


@dataclass(slots=True)
class TubeFacts:
    """What is known of the tube. `said` holds what was reported of it before, by revision."""

    state: TubeState
    revision: int | None = None
    said: Mapping[int, Report] = field(default_factory=dict)


def decide(
    report: Report, tube: TubeFacts | None, now: datetime, ahead: timedelta
) -> Refused | Literal["take", "already"]:
    """A tube has one result; a higher revision corrects it, the same report again is none, anything else is refused."""
    if tube is None:
        return "tube_unknown"
    if tube.said.get(report.revision) == report:
        return "already"
    refused = BEFORE_RESULT.get(tube.state)
    if refused:
        return refused
    if tube.revision is not None and report.revision <= tube.revision:
        return "result_outdated"
    return "clock_ahead" if report.tested_at > now + ahead else "take"


BEFORE_RESULT: Mapping[TubeState, Refused] = {
    "open": "tube_not_sealed",
    "sealed": "tube_not_received",
    "in_transit": "tube_not_received",
    "discarded": "tube_discarded",
}
"""The states in which a tube takes no report."""
