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
CLEAR = text("DELETE FROM attempts WHERE lane = :lane")


async def take(work: Work, lanes: Sequence[Lane]) -> int:
    """Count a guess; seconds to wait if a lane is full. Whom their own lane stops, does not fill the next."""
    for lane in lanes:
        (kept,) = await work.rows(TAKE, lane=lane.key, now=work.now, oldest=work.now - lane.window)
        wait = rules.wait_seconds(kept["count"], kept["since"], lane, work.now)
        if wait:
            return wait
    return 0


async def clear(work: Work, lanes: Sequence[Lane]) -> None:
    """Forget the guesses of somebody who was right; a lane shared with others keeps theirs."""
    if lanes:
        await work.run(CLEAR, lane=lanes[0].key)
