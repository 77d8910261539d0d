"""Ending: what a session, an account or a client was given stops working within a second, in every process.

An access token lives ten minutes and is checked without the database. So what ended lately is a short list that each
process reads anew every second: the sessions and accounts whose tokens, made up to an instant, no longer hold.
"""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from services.gateway.accounts.tables import subject_of
from shared import clock
from shared.house import House
from shared.work import Work

log = structlog.get_logger()

ACCESS_SECONDS = 600
"""The longest an access token of a session or a machine lives."""

LOOK_SECONDS = 1.0
MOST_KEPT = 100_000
"""Beyond that the oldest are left out: 100,000 endings in eleven minutes are not people's."""

END = text("""
    INSERT INTO endings AS kept (id, at) VALUES (:id, :at)
    ON CONFLICT (id) DO UPDATE SET at = greatest(kept.at, excluded.at)
""")
END_SESSIONS = text("""
    WITH ended AS (
        UPDATE sessions
        SET ended_at = :now, ended_why = :why, version = version + 1, updated_at = now()
        WHERE (id = CAST(:session AS uuid) OR grant_id = CAST(:grant AS uuid) OR account_id = CAST(:account AS uuid))
          AND ended_at IS NULL
        RETURNING id
    )
    INSERT INTO endings AS kept (id, at) SELECT id, :at FROM ended
    ON CONFLICT (id) DO UPDATE SET at = greatest(kept.at, excluded.at)
""")
UNDER_WAY = tuple(
    text(f"DELETE FROM {table} WHERE account_id = :account")  # noqa: S608 (names of tables)
    for table in ("interactions", "authorization_codes", "device_authorizations", "recovery_codes", "links")
)
"""What could still become a session, or stand in for what proved the owner."""
ENDED_LATELY = text("SELECT id, at FROM endings WHERE at > :since ORDER BY at DESC LIMIT :most")


async def end_session(work: Work, session_id: UUID, why: str) -> None:
    """End one session."""
    await _end(work, why, session=session_id)


async def end_grant(work: Work, grant_id: UUID, why: str) -> None:
    """End all sessions that act in a grant."""
    await _end(work, why, grant=grant_id)


async def end_account(work: Work, account_id: UUID) -> None:
    """End all sessions of an account, also beyond the range of who ends it, and whatever is under way."""
    async with work.everywhere():
        await _end(work, "account", account=account_id)
        for statement in UNDER_WAY:
            await work.run(statement, account=account_id)
    await end_tokens(work, account_id)


async def end_tokens(work: Work, id: UUID, *, for_good: bool = False) -> None:  # noqa: A002
    """Let no access token hold that an account or a client has by now; new ones do, unless it is `for_good`."""
    # Not `work.now`: this work may have waited for one that was making a token.
    await work.run(END, id=id, at=_for_good() if for_good else clock.now())


async def _end(work: Work, why: str, **which: UUID) -> None:
    given = {"session": None, "grant": None, "account": None, **which}
    await work.run(END_SESSIONS, given, now=work.now, at=_for_good(), why=why)


def _for_good() -> datetime:
    """Nothing made until then holds: by then, what was made before has expired, and nothing more is made."""
    return clock.now() + timedelta(seconds=ACCESS_SECONDS)


async def keep_reading(house: House, ended: dict[str, float]) -> None:
    """Know what ended lately, for as long as the process lives."""
    while True:
        try:
            await read(house, ended)
        except Exception as error:  # the database may be away in a hundred ways; tokens end by themselves meanwhile
            log.warning("endings.not_read", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


async def read(house: House, ended: dict[str, float]) -> None:
    """Replace what is known of endings by what is so now."""
    now = clock.now()
    async with house.system_work("endings") as work:
        rows = await work.rows(ENDED_LATELY, since=oldest(now), most=MOST_KEPT)
    found: dict[str, float] = {}
    for row in rows:
        at = row["at"].timestamp()
        found[str(row["id"])] = found[subject_of(row["id"])] = at
    for gone in ended.keys() - found.keys():
        del ended[gone]
    ended.update(found)


def oldest(now: datetime) -> datetime:
    """How far back an ending matters: as long as a token lives, and a minute."""
    return now - timedelta(seconds=ACCESS_SECONDS + 60)
