"""Pure rules of results: the decision on a laboratory's report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from services.testing.tubes.rules import move as move_tube
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
    """The facts of the tube. `reports` are the earlier reports, by revision."""

    state: TubeState
    revision: int | None = None
    reports: Mapping[int, Report] = field(default_factory=dict)


def decide(
    report: Report, tube: TubeFacts | None, now: datetime, ahead: timedelta
) -> Refused | Literal["take", "already"]:
    """Decide one report. A higher revision corrects the result, and a repeated report is answered `already`."""
    if tube is None:
        return "tube_unknown"
    if tube.reports.get(report.revision) == report:
        return "already"
    if move_tube(tube.state, "report") is None:
        return REFUSED_REPORT[tube.state]
    if tube.revision is not None and report.revision <= tube.revision:
        return "result_outdated"
    return "clock_ahead" if report.tested_at > now + ahead else "take"


REFUSED_REPORT: Mapping[TubeState, Refused] = {
    "open": "tube_not_sealed",
    "sealed": "tube_not_received",
    "in_transit": "tube_not_received",
    "discarded": "tube_discarded",
}
"""The refusal for each state in which `TUBE_MOVES` allows no report."""
