"""People: what happens when the registry's residents or testing's tubes changed."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete

from services.observation.people import rules
from services.observation.people.following import follow
from services.observation.people.tables import FindingRow, PersonRow
from shared.contracts.registry import Resident
from shared.contracts.testing import Tube
from shared.feed.reader import reacts_to
from shared.ids import in_order
from shared.work import Work


async def forget_people(work: Work, ids: Sequence[UUID]) -> None:
    """The registry no longer has these people. What is open for them stays open until somebody closes it."""
    await work.session.execute(delete(PersonRow).where(PersonRow.id.in_(in_order(ids))))


@reacts_to(Resident, forget=forget_people)
async def follow_residents(work: Work, residents: Sequence[Resident]) -> None:
    """Keep where people live, with whom, and what care they need; open orders move with them.

    A positive of their household may have come before them: then their order opens now.
    """
    values = [
        {
            "id": resident.id,
            "region": resident.region,
            "household_id": resident.household_id,
            "active": resident.state == "active",
            "tags": [vars(tag) for tag in resident.tags],
        }
        for resident in residents
    ]
    await work.upsert(PersonRow, values)
    await follow(work, [resident.id for resident in residents])


async def forget_tubes(work: Work, ids: Sequence[UUID]) -> None:
    """Testing no longer has these tubes: what rested on them is withdrawn."""
    await _replace(work, ids, [])


@reacts_to(Tube, forget=forget_tubes)
async def follow_tubes(work: Work, tubes: Sequence[Tube]) -> None:
    """Keep what single tubes say of people, and open or withdraw what follows. A pool names nobody: it is not kept.

    A tube for one person that holds several is a pool. It is looked at all the same: it may have been single before.
    """
    singles = [tube for tube in tubes if tube.capacity == 1]
    if singles:
        await _replace(
            work, [tube.id for tube in singles], [one for tube in singles for one in rules.findings_of(tube)]
        )


async def _replace(work: Work, tubes: Sequence[UUID], findings: Sequence[rules.Finding]) -> None:
    """Make what is held from these tubes exactly these findings."""
    values = [
        {
            "subject": one.tube,
            "resident_id": one.resident_id,
            "region": one.region,
            "positive": one.positive,
            "sampled_at": one.sampled_at,
            "tested_at": one.tested_at,
            "reported_at": one.reported_at,
        }
        for one in sorted(findings, key=lambda one: (one.tube, one.resident_id))
    ]
    former = await work.replace(FindingRow, tubes, values)
    await follow(work, former | {one.resident_id for one in findings}, tubes)
