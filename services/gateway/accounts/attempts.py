"""Counts guesses by lane. rules.py defines the lanes and their limits."""

from collections.abc import Sequence

from sqlalchemy import text

from services.gateway.accounts import rules
from services.gateway.accounts.rules import Lane
from shared.database.unit_of_work import UnitOfWork

# A guess is counted before it is checked, so that of a thousand concurrent guesses only the allowed number is checked.
COUNT_GUESS = text("""
    INSERT INTO attempts AS kept (lane, count, since)
    VALUES (:lane, 1, :now)
    ON CONFLICT (lane) DO UPDATE
    SET count = CASE WHEN kept.since <= :oldest THEN 1 ELSE kept.count + 1 END,
        since = CASE WHEN kept.since <= :oldest THEN excluded.since ELSE kept.since END
    RETURNING count, since
""")
# `since` of a sliding lane is the time when it will be empty. Each guess moves it by one step. A guess at a full lane
# does not move it, so that continued guessing does not lengthen the wait of others.
COUNT_SLIDING_GUESS = text("""
    INSERT INTO attempts AS kept (lane, count, since)
    VALUES (:lane, 1, CAST(:now AS timestamptz) + CAST(:step AS interval))
    ON CONFLICT (lane) DO UPDATE
    SET count = kept.count + 1, since = greatest(kept.since, CAST(:now AS timestamptz)) + CAST(:step AS interval)
    WHERE greatest(kept.since, CAST(:now AS timestamptz)) + CAST(:step AS interval) <= CAST(:most AS timestamptz)
    RETURNING since
""")
SELECT_SINCE = text("SELECT since FROM attempts WHERE lane = :lane")
UNCOUNT_GUESSES = text("""
    UPDATE attempts SET since = since - CAST(:step AS interval) * CAST(:times AS integer) WHERE lane = :lane
""")
DELETE_COUNT = text("DELETE FROM attempts WHERE lane = :lane")


async def take(uow: UnitOfWork, lanes: Sequence[Lane]) -> int:
    """Count a guess in each lane. Returns the seconds to wait if a lane is full, else 0.

    If one lane is full, the guess is not counted in the other sliding lanes.
    """
    taken: list[Lane] = []
    for lane in lanes:
        wait = await (_take_sliding(uow, lane) if lane.sliding else _take(uow, lane))
        if wait:
            await give_back(uow, taken)
            return wait
        taken.append(lane)
    return 0


async def clear(uow: UnitOfWork, lanes: Sequence[Lane]) -> None:
    """Delete the counts after a correct guess. In a lane shared with others only this one guess is taken back."""
    await give_back(uow, lanes)  # in the same order as `take` locks them
    for lane in lanes:
        if not lane.shared:
            await uow.run(DELETE_COUNT, lane=lane.key)


async def give_back(uow: UnitOfWork, lanes: Sequence[Lane], times: int = 1) -> None:
    """Remove guesses from the shared sliding lanes."""
    for lane in lanes:
        if lane.sliding and lane.shared:
            await uow.run(UNCOUNT_GUESSES, lane=lane.key, step=lane.step, times=times)


async def wait_of(uow: UnitOfWork, lane: Lane) -> int:
    """Return the seconds until a sliding lane accepts a guess, 0 if it does now. Takes no lock."""
    rows = await uow.rows(SELECT_SINCE, lane=lane.key)
    return rules.sliding_wait(rows[0]["since"], lane, uow.now) if rows else 0


async def _take(uow: UnitOfWork, lane: Lane) -> int:
    (kept,) = await uow.rows(COUNT_GUESS, lane=lane.key, now=uow.now, oldest=uow.now - lane.window)
    return rules.wait_seconds(kept["count"], kept["since"], lane, uow.now)


async def _take_sliding(uow: UnitOfWork, lane: Lane) -> int:
    if wait := await wait_of(uow, lane):
        return wait  # return before the upsert, so that many guesses at a full lane do not wait for its row lock
    values = {"lane": lane.key, "now": uow.now, "step": lane.step, "most": uow.now + lane.window}
    if await uow.rows(COUNT_SLIDING_GUESS, **values):
        return 0
    return max(1, await wait_of(uow, lane))
