"""The transition table of referrals, through messages and the API: every state with every move."""

from datetime import timedelta
from typing import get_args
from uuid import UUID

import httpx
import pytest

from services.observation.messages.rules import SENDERS
from services.observation.referrals.rules import Move
from shared.contracts.gateway import Message
from shared.contracts.observation import ReferralState
from shared.core import clock
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import message, publish_to_observation
from tests.observation.test_referral_rules import EXPECTED
from tests.observation.test_referrals import fever

MOVES: tuple[Move, ...] = get_args(Move)


def event(move: str, referral_id: UUID, minutes_ago: float) -> Message:
    """A message of a sender that may report the move. No hospital is named, so that any may report the outcome."""
    sender = next(senders[0] for name, senders in SENDERS.items() if name == move)
    at = clock.now() - timedelta(minutes=minutes_ago)
    return message(f"referral.{move}", referral_id, source=sender, at=at)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", get_args(ReferralState))
async def test_a_referral_makes_exactly_the_allowed_moves(
    district: District, officer: httpx.AsyncClient, state: ReferralState
) -> None:
    path = "/observation/v1/referrals"
    ids: dict[Move, UUID] = {}
    for move in MOVES:
        reported = await officer.post(path, json=fever(new_id()))
        assert reported.status_code == 201, reported.text
        ids[move] = UUID(reported.json()["id"])
    if state == "cancelled":
        for id_ in ids.values():
            cancelled = await officer.post(f"{path}/{id_}/cancel", json={"reason": "测试"})
            assert cancelled.status_code == 200, cancelled.text
    elif state != "reported":
        await publish_to_observation(district, *(event(state, id_, 30) for id_ in ids.values()))
    after_state = {move: event(move, id_, 0) for move, id_ in ids.items() if move != "cancel"}
    await publish_to_observation(district, *after_state.values())
    last = await officer.post(f"{path}/{ids['cancel']}/cancel", json={"reason": "测试"})
    messages = await district.sql("SELECT id, state FROM observation.messages")
    applied = {row["id"] for row in messages if row["state"] == "applied"}
    for move, id_ in ids.items():
        expected = EXPECTED[state, move]
        shown = (await officer.get(f"{path}/{id_}")).json()
        assert shown["state"] == {"=": state, None: state}.get(expected, expected), move
        is_applied = last.status_code == 200 if move == "cancel" else after_state[move].id in applied
        assert is_applied == (expected is not None), move
