"""Retests: which step may follow which, and what a laboratory's outcome asks for. Pure."""

from typing import Literal

from shared.contracts.testing import Outcome

RetestState = Literal["called", "sampled", "settled", "withdrawn"]
RetestMove = Literal["call", "sample", "settle", "withdraw"]

RETEST_MOVES: dict[tuple[RetestState, RetestMove], RetestState] = {
    ("called", "sample"): "sampled",
    ("called", "settle"): "settled",
    ("called", "withdraw"): "withdrawn",
    ("sampled", "call"): "called",
    ("sampled", "settle"): "settled",
    ("sampled", "withdraw"): "withdrawn",
    ("settled", "call"): "called",
    ("settled", "settle"): "settled",
    ("withdrawn", "call"): "called",
}
"""Every pair that is not here is forbidden. A person is called again when the single tube was lost or told nothing;
what is settled is settled anew by a correction of the single tube."""

OPEN: tuple[RetestState, ...] = ("called", "sampled")


def states_before(by: RetestMove) -> list[RetestState]:
    """The states from which a step may be taken, for statements that take it for many."""
    return [state for state, move in RETEST_MOVES if move == by]


def calls_members(outcome: Outcome | None, *, pool: bool, drill: bool = False) -> bool:
    """Whether each member is called to a retest: by a positive pool, or by the grey zone of any tube.

    A positive tube of one person needs no retest: it has found its person. A drill calls nobody.
    """
    if drill:
        return False
    return outcome == "inconclusive" or (outcome == "positive" and pool)
