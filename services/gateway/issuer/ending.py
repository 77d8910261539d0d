"""Ends sessions: the tokens of a session, an account or a client stop working within a second in every process.

An access token lives ten minutes and is verified without the database. Therefore each process reads a short list every
second: the recently ended sessions and accounts, each with the instant up to which its tokens are no longer valid.
"""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from services.gateway.accounts.tables import subject_of
from shared.core import clock
from shared.database.unit_of_work import UnitOfWork
from shared.runtime.context import ServiceContext

log = structlog.get_logger()

ACCESS_SECONDS = 600
"""Maximum lifetime of an access token of a session or a machine."""

LOOK_SECONDS = 1.0
MOST_KEPT = 100_000
"""Older endings beyond this number are ignored, because people do not cause 100,000 endings in eleven minutes."""

INSERT_ENDING = text("""
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
DELETE_PENDING = tuple(
    text(f"DELETE FROM {table} WHERE account_id = :account")  # noqa: S608 (names of tables)
    for table in ("interactions", "authorization_codes", "device_authorizations", "recovery_codes", "links")
)
"""Delete everything that could still become a session, or that could replace the owner's credentials."""
SELECT_ENDINGS = text("SELECT id, at FROM endings WHERE at > :since ORDER BY at DESC LIMIT :most")


async def end_session(uow: UnitOfWork, session_id: UUID, why: str) -> None:
    """End one session."""
    await _end(uow, why, session=session_id)


async def end_grant(uow: UnitOfWork, grant_id: UUID, why: str) -> None:
    """End all sessions that act in a grant."""
    await _end(uow, why, grant=grant_id)


async def end_account(uow: UnitOfWork, account_id: UUID) -> None:
    """End all sessions and pending sign-ins of an account, also those outside of the caller's region."""
    async with uow.unscoped():
        await _end(uow, "account", account=account_id)
        for statement in DELETE_PENDING:
            await uow.run(statement, account=account_id)
    await end_tokens(uow, account_id)


async def end_tokens(uow: UnitOfWork, id: UUID, *, for_good: bool = False) -> None:  # noqa: A002
    """Invalidate all access tokens of an account or client. New ones are valid, unless `for_good`."""
    # Not `uow.now`, because this work may have waited for another one that issued a token.
    await uow.run(INSERT_ENDING, id=id, at=_for_good() if for_good else clock.now())


async def _end(uow: UnitOfWork, why: str, **which: UUID) -> None:
    given = {"session": None, "grant": None, "account": None, **which}
    await uow.run(END_SESSIONS, given, now=uow.now, at=_for_good(), why=why)


def _for_good() -> datetime:
    """Return an instant at which all tokens issued until now have expired. No new ones are issued."""
    return clock.now() + timedelta(seconds=ACCESS_SECONDS)


async def keep_reading(context: ServiceContext, ended: dict[str, float]) -> None:
    """Read the endings every second, until cancelled."""
    while True:
        try:
            await read(context, ended)
        except Exception as error:  # the database can fail in many ways; tokens still expire meanwhile
            log.warning("endings.not_read", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


async def read(context: ServiceContext, ended: dict[str, float]) -> None:
    """Replace the known endings by those in the database."""
    now = clock.now()
    async with context.system_unit_of_work("endings") as uow:
        rows = await uow.rows(SELECT_ENDINGS, since=oldest(now), most=MOST_KEPT)
    current: dict[str, float] = {}
    for row in rows:
        at = row["at"].timestamp()
        current[str(row["id"])] = current[subject_of(row["id"])] = at
    for expired in ended.keys() - current.keys():
        del ended[expired]
    ended.update(current)


def oldest(now: datetime) -> datetime:
    """Return the time of the oldest ending that matters: the lifetime of a token and one minute ago."""
    return now - timedelta(seconds=ACCESS_SECONDS + 60)
