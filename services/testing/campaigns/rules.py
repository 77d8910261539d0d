"""Pure rules of campaigns: their transitions."""

from typing import Literal

from shared.contracts.testing import CampaignState

CampaignMove = Literal["open", "close", "cancel"]

CAMPAIGN_MOVES: dict[tuple[CampaignState, CampaignMove], CampaignState] = {
    ("planned", "open"): "open",
    ("planned", "cancel"): "cancelled",
    ("open", "close"): "closed",
    ("open", "cancel"): "cancelled",
}
"""All allowed moves; every other pair is forbidden. A closed round stays closed: later swabs belong to the next one."""


def move(state: CampaignState, by: CampaignMove) -> CampaignState | None:
    """Return the state after a move, or None if the move is forbidden."""
    return CAMPAIGN_MOVES.get((state, by))
