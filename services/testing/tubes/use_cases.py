"""Use cases of tubes: list, show and discard them, and list samples."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.engine import RowMapping

from services.testing.problems import STATES, TubeMoveForbidden
from services.testing.results import propagation
from services.testing.results.propagation import News
from services.testing.tubes import rules
from services.testing.tubes.lookup import lock_tubes
from services.testing.tubes.people import pool
from services.testing.tubes.schemas import Discard, OwnSample, RefusedSample
from services.testing.tubes.serialization import public_tubes
from services.testing.tubes.tables import RefusedSampleRow, TubeRow
from shared.contracts.testing import Tube, TubeState
from shared.database.paging import InvalidCursor, Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import NotFound

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

DISCARD_TUBE = text("""
    UPDATE tubes SET state = 'discarded', discarded_at = :now, discard_reason = :reason,
        version = version + 1, updated_at = :now
    WHERE id = :id AND state = ANY(CAST(:states AS text[]))
""")

SELECT_MY_SAMPLES = text("""
    SELECT id, sampled_at FROM samples
    WHERE undone_at IS NULL AND (sampled_at, id) < (:sampled_at, :id)
    ORDER BY sampled_at DESC, id DESC LIMIT :limit
""")

# The input of `rules.own_result` for each sample. `retested`: the person's own single swab has a result.
SELECT_MY_TUBES = text(f"""
    SELECT samples.id, samples.resident_id, campaigns.name AS campaign, tubes.number AS tube_number,
        CASE WHEN {pool("tubes")} THEN 'pool' ELSE 'single' END AS people,
        tubes.drill, samples.sampled_at, tubes.state, tubes.held, tubes.outcome, tubes.reported_at,
        retests.outcome IS NOT NULL AS retested
    FROM samples JOIN tubes ON tubes.id = samples.tube_id JOIN campaigns ON campaigns.id = samples.campaign_id
    LEFT JOIN retests ON retests.pool_id = tubes.id AND retests.resident_id = samples.resident_id
    WHERE samples.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY samples.sampled_at DESC, samples.id DESC
""")  # noqa: S608 - a condition of this service

OWN_CURSOR = r"^[0-9a-f]{1,14}-[0-9a-f]{32}$"
"""A cursor of the list of one's own samples: the time of the swab in microseconds (hex), and its id."""
NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=0))


async def get_tube(uow: UnitOfWork, tube_id: UUID) -> Tube:
    """Return one tube with its samples."""
    await uow.get(TubeRow, tube_id)
    async with uow.unscoped():
        tube = (await public_tubes(uow, [tube_id]))[0]
    uow.record_access(sample.resident_id for sample in tube.samples)
    return tube


async def list_tubes(
    uow: UnitOfWork, campaign_id: UUID | None, state: TubeState | None, number: str | None, page: Page
) -> Listed[Tube]:
    """Return one page of tubes within the caller's scope."""
    statement = select(TubeRow)
    if campaign_id is not None:
        statement = statement.where(TubeRow.campaign_id == campaign_id)
    if state is not None:
        statement = statement.where(TubeRow.state == state)
    if number is not None:
        statement = statement.where(TubeRow.number == number)
    listed = await uow.page(statement, page, lambda row: row.id)
    async with uow.unscoped():
        tubes = {tube.id: tube for tube in await public_tubes(uow, listed.items)}
    uow.record_access(sample.resident_id for tube in tubes.values() for sample in tube.samples)
    return Listed(items=[tubes[id_] for id_ in listed.items], next_cursor=listed.next_cursor)


async def discard_tube(uow: UnitOfWork, tube_id: UUID, discard: Discard) -> Tube:
    """Discard a tube, or give it up if its result is held."""
    tube = (await lock_tubes(uow, [tube_id])).get(tube_id)
    if tube is None:
        raise NotFound()
    move = rules.discard_move(tube["outcome"], missing=tube["missing"])
    if rules.move(tube["state"], move) is None:
        raise TubeMoveForbidden(state=STATES[tube["state"]])
    async with uow.unscoped():
        await uow.run(DISCARD_TUBE, id=tube_id, now=uow.now, reason=discard.reason, states=rules.states_before(move))
        await propagation.propagate(uow, {tube_id: News("discarded", tube["outcome"])})
        discarded = (await public_tubes(uow, [tube_id]))[0]
    uow.record_access(sample.resident_id for sample in discarded.samples)
    return discarded


async def list_refused_samples(uow: UnitOfWork, resolved: bool, page: Page) -> Listed[RefusedSample]:
    """Return one page of refused records. `resolved`: include those kept later."""
    statement = select(RefusedSampleRow)
    if not resolved:
        statement = statement.where(RefusedSampleRow.resolved_at.is_(None))
    listed = await uow.page(statement, page, _to_public_refused)
    uow.record_access(record.resident_id for record in listed.items if record.resident_id is not None)
    return listed


def _to_public_refused(row: RefusedSampleRow) -> RefusedSample:
    return RefusedSample(
        sample_id=row.sample_id,
        campaign_id=row.campaign_id,
        tube_number=row.tube_number,
        resident_id=row.resident_id,
        sampled_at=row.sampled_at,
        reason=row.reason,
        refused_at=row.created_at,
        resolved_at=row.resolved_at,
    )


async def list_my_samples(uow: UnitOfWork, cursor: str | None, limit: int) -> Listed[OwnSample]:
    """Return one page of the swabs of the caller and the caller's dependants, newest first."""
    sampled_at, id_ = NEWEST if cursor is None else _own_position(cursor)
    matches = await uow.rows(SELECT_MY_SAMPLES, sampled_at=sampled_at, id=id_, limit=limit + 1)
    shown = matches[:limit]
    async with uow.unscoped():
        samples = [_own(row) for row in await uow.rows(SELECT_MY_TUBES, ids=[row["id"] for row in shown])]
    uow.record_access(sample.resident_id for sample in samples)
    return Listed(items=samples, next_cursor=_own_cursor(shown[-1]) if len(matches) > limit else None)


def _own(row: RowMapping) -> OwnSample:
    stage, outcome = rules.own_result(
        row["state"],
        row["outcome"],
        row["people"],
        held=row["held"],
        drill=row["drill"],
        retested=row["retested"],
    )
    has_news = outcome is not None or stage == "retested"
    return OwnSample(
        id=row["id"],
        resident_id=row["resident_id"],
        campaign=row["campaign"],
        tube_number=row["tube_number"],
        people=row["people"],
        drill=row["drill"],
        sampled_at=row["sampled_at"],
        stage=stage,
        outcome=outcome,
        reported_at=row["reported_at"] if has_news else None,
    )


def _own_cursor(row: RowMapping) -> str:
    return f"{(row['sampled_at'] - EPOCH) // MICROSECOND:x}-{row['id'].hex}"


def _own_position(cursor: str) -> tuple[datetime, UUID]:
    """Parse a cursor into the time and the id of a swab. Raises `InvalidCursor`."""
    if not re.fullmatch(OWN_CURSOR, cursor, re.ASCII):
        raise InvalidCursor()
    microseconds, _, id_ = cursor.partition("-")
    return EPOCH + int(microseconds, 16) * MICROSECOND, UUID(id_)
