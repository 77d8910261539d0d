"""Counting guesses by lane (rules.py says which, and how many)."""

from collections.abc import Sequence

from sqlalchemy import text

from services.gateway.accounts import rules
from services.gateway.accounts.rules import Lane
from shared.work import Work

# A guess is counted before it is looked at: of a thousand at once, no more are looked at than there are tries.
TAKE = text("""
    INSERT INTO attempts AS kept (lane, count, since)
    VALUES (:lane, 1, :now)
    ON CONFLICT (lane) DO UPDATE
    SET count = CASE WHEN kept.since <= :oldest THEN 1 ELSE kept.count + 1 END,
        since = CASE WHEN kept.since <= :oldest THEN excluded.since ELSE kept.since END
    RETURNING count, since
""")
# Of a sliding lane `since` is when it will have drained. Each guess moves it by one step; a full lane stays as it is,
# so that who goes on guessing does not lengthen the wait of others.
TAKE_SLIDING = text("""
    INSERT INTO attempts AS kept (lane, count, since)
    VALUES (:lane, 1, CAST(:now AS timestamptz) + CAST(:step AS interval))
    ON CONFLICT (lane) DO UPDATE
    SET count = kept.count + 1, since = greatest(kept.since, CAST(:now AS timestamptz)) + CAST(:step AS interval)
    WHERE greatest(kept.since, CAST(:now AS timestamptz)) + CAST(:step AS interval) <= CAST(:most AS timestamptz)
    RETURNING since
""")
LOOK = text("SELECT since FROM attempts WHERE lane = :lane")
GIVE_BACK = text("""
    UPDATE attempts SET since = since - CAST(:step AS interval) * CAST(:times AS integer) WHERE lane = :lane
""")
CLEAR = text("DELETE FROM attempts WHERE lane = :lane")


async def take(work: Work, lanes: Sequence[Lane]) -> int:
    """Count a guess; seconds to wait if a lane is full. A guess that one lane stops counts in no other sliding lane."""
    taken: list[Lane] = []
    for lane in lanes:
        wait = await (_take_sliding(work, lane) if lane.sliding else _take(work, lane))
        if wait:
            await give_back(work, taken)
            return wait
        taken.append(lane)
    return 0


async def clear(work: Work, lanes: Sequence[Lane]) -> None:
    """Forget the guesses of somebody who was right; a lane shared with others forgets this one at most."""
    await give_back(work, lanes)  # in the order in which `take` locks them
    for lane in lanes:
        if not lane.shared:
            await work.run(CLEAR, lane=lane.key)


async def give_back(work: Work, lanes: Sequence[Lane], times: int = 1) -> None:
    """Take guesses out of the sliding lanes again."""
    for lane in lanes:
        if lane.sliding and lane.shared:
            await work.run(GIVE_BACK, lane=lane.key, step=lane.step, times=times)


async def wait_of(work: Work, lane: Lane) -> int:
    """Seconds until a sliding lane takes a guess, 0 if it would take one now. It waits for no lock."""
    rows = await work.rows(LOOK, lane=lane.key)
    return rules.sliding_wait(rows[0]["since"], lane, work.now) if rows else 0


async def _take(work: Work, lane: Lane) -> int:
    (kept,) = await work.rows(TAKE, lane=lane.key, now=work.now, oldest=work.now - lane.window)
    return rules.wait_seconds(kept["count"], kept["since"], lane, work.now)


async def _take_sliding(work: Work, lane: Lane) -> int:
    if wait := await wait_of(work, lane):
        return wait  # a flood into a full lane does not queue for its row
    values = {"lane": lane.key, "now": work.now, "step": lane.step, "most": work.now + lane.window}
    if await work.rows(TAKE_SLIDING, **values):
        return 0
    return max(1, await wait_of(work, lane))
