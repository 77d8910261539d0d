"""Tubes: what is asked of them, and their end before the laboratory's."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text

from services.testing.problems import STATES, TubeMoveForbidden
from services.testing.results import consequences
from services.testing.results.consequences import News
from services.testing.tubes import rules
from services.testing.tubes.lookup import lock_tubes
from services.testing.tubes.said import say_tubes
from services.testing.tubes.schemas import Discard, OwnSample, RefusedSample
from services.testing.tubes.tables import RefusedSampleRow, TubeRow
from shared.contracts.testing import Tube, TubeState
from shared.problems import NotFound
from shared.work import Listed, Page, Work

DISCARD = text("""
    UPDATE tubes SET state = 'discarded', discarded_at = :now, discard_reason = :reason,
        version = version + 1, updated_at = :now
    WHERE id = :id
""")

MY_SAMPLES = text("SELECT id FROM samples WHERE undone_at IS NULL ORDER BY sampled_at DESC LIMIT 200")

# A held negative is not told: it is not known yet that everybody in the tube is known.
MY_TUBES = text("""
    SELECT samples.id, samples.resident_id, campaigns.name AS campaign, tubes.number AS tube_number,
        CASE tubes.capacity WHEN 1 THEN 'single' ELSE 'pool' END AS people, tubes.drill, samples.sampled_at,
        CASE WHEN tubes.held AND tubes.outcome <> 'positive' THEN 'received' ELSE tubes.state END AS stage,
        CASE WHEN NOT tubes.held OR tubes.outcome = 'positive' THEN tubes.outcome END AS outcome,
        CASE WHEN NOT tubes.held OR tubes.outcome = 'positive' THEN tubes.reported_at END AS reported_at
    FROM samples JOIN tubes ON tubes.id = samples.tube_id JOIN campaigns ON campaigns.id = samples.campaign_id
    WHERE samples.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY samples.sampled_at DESC, samples.id
""")


async def get_tube(work: Work, tube_id: UUID) -> Tube:
    await work.get(TubeRow, tube_id)
    async with work.everywhere():
        tube = (await say_tubes(work, [tube_id]))[0]
    work.saw(sample.resident_id for sample in tube.samples)
    return tube


async def list_tubes(
    work: Work, campaign_id: UUID | None, state: TubeState | None, number: str | None, page: Page
) -> Listed[Tube]:
    statement = select(TubeRow)
    if campaign_id is not None:
        statement = statement.where(TubeRow.campaign_id == campaign_id)
    if state is not None:
        statement = statement.where(TubeRow.state == state)
    if number is not None:
        statement = statement.where(TubeRow.number == number)
    listed = await work.page(statement, page, lambda row: row.id)
    async with work.everywhere():
        said = {tube.id: tube for tube in await say_tubes(work, listed.items)}
    work.saw(sample.resident_id for tube in said.values() for sample in tube.samples)
    return Listed(items=[said[id_] for id_ in listed.items], next_cursor=listed.next_cursor)


async def discard_tube(work: Work, tube_id: UUID, discard: Discard) -> Tube:
    """A held result that is not positive is in force for nobody, so its tube may still be given up."""
    tube = (await lock_tubes(work, [tube_id])).get(tube_id)
    if tube is None:
        raise NotFound()
    given_up = tube["state"] == "resulted" and tube["missing"] > 0 and tube["outcome"] in ("negative", "invalid")
    if not given_up and rules.move(tube["state"], "discard") is None:
        raise TubeMoveForbidden(state=STATES[tube["state"]])
    async with work.everywhere():
        await work.run(DISCARD, id=tube_id, now=work.now, reason=discard.reason)
        await consequences.follow(work, {tube_id: News("discarded", tube["outcome"])})
        said = (await say_tubes(work, [tube_id]))[0]
    work.saw(sample.resident_id for sample in said.samples)
    return said


async def list_refused_samples(work: Work, resolved: bool, page: Page) -> Listed[RefusedSample]:
    statement = select(RefusedSampleRow)
    if not resolved:
        statement = statement.where(RefusedSampleRow.resolved_at.is_(None))
    listed = await work.page(statement, page, _say_refused)
    work.saw(record.resident_id for record in listed.items)
    return listed


def _say_refused(row: RefusedSampleRow) -> RefusedSample:
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


async def list_my_samples(work: Work) -> Sequence[OwnSample]:
    ids = [row["id"] for row in await work.rows(MY_SAMPLES)]
    async with work.everywhere():
        samples = [OwnSample(**row) for row in await work.rows(MY_TUBES, ids=ids)]
    work.saw(sample.resident_id for sample in samples)
    return samples
