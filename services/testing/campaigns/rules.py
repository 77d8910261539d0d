"""Campaigns: which step may follow which. Pure."""

from typing import Literal

from shared.contracts.testing import CampaignState

CampaignMove = Literal["open", "close", "cancel"]

CAMPAIGN_MOVES: dict[tuple[CampaignState, CampaignMove], CampaignState] = {
    ("planned", "open"): "open",
    ("planned", "cancel"): "cancelled",
    ("open", "close"): "closed",
    ("open", "cancel"): "cancelled",
}
"""Every pair that is not here is forbidden. A closed round stays closed: later swabs belong to the next one."""


def move(state: CampaignState, by: CampaignMove) -> CampaignState | None:
    """The state after a step, or None if the step is forbidden."""
    return CAMPAIGN_MOVES.get((state, by))
