"""Pure rules of retests: their transitions, and which outcome calls the members of a tube."""

from typing import Literal

from shared.contracts.testing import Outcome

RetestState = Literal["called", "sampled", "settled", "withdrawn"]
RetestMove = Literal["call", "sample", "move", "settle", "recall", "withdraw"]

RETEST_MOVES: dict[tuple[RetestState, RetestMove], RetestState] = {
    ("called", "sample"): "sampled",
    ("called", "settle"): "settled",
    ("called", "withdraw"): "withdrawn",
    ("sampled", "move"): "sampled",
    ("sampled", "recall"): "called",
    ("sampled", "settle"): "settled",
    ("sampled", "withdraw"): "withdrawn",
    ("settled", "recall"): "called",
    ("settled", "settle"): "settled",
    ("withdrawn", "call"): "called",
}
"""All allowed moves; every other pair is forbidden. Statements take their states from here.

`move`: the swab turned out to be in another tube. `recall`: the single tube was lost, undone or gave no clear result.
`settle` of a settled retest: the result of the single tube was corrected. `call`: a corrected pool is suspect again.
"""

OPEN: tuple[RetestState, ...] = ("called", "sampled")


def states_before(by: RetestMove) -> list[RetestState]:
    """Return the states in which a move is allowed, for statements that move many retests."""
    return [state for state, move in RETEST_MOVES if move == by]


def calls_members(outcome: Outcome | None, *, pool: bool, drill: bool = False) -> bool:
    """Return whether each member of a tube is called to a retest: by a positive pool, or by the grey zone of any tube.

    A positive single tube needs no retest, because it identifies its person. A drill calls nobody. No other code
    decides this: statements get the ids of the calling tubes as a parameter.
    """
    if drill:
        return False
    return outcome == "inconclusive" or (outcome == "positive" and pool)
