"""Reactions to changes of residents (registry) and tubes (testing)."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete

from services.observation.people import rules
from services.observation.people.cascade import cascade_people
from services.observation.people.tables import FindingRow, PersonRow
from shared.contracts.registry import Resident
from shared.contracts.testing import Tube
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to


async def forget_people(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete people that the registry no longer has. Their open orders and referrals stay until staff close them."""
    await uow.session.execute(delete(PersonRow).where(PersonRow.id.in_(in_order(ids))))


@reacts_to(Resident, forget=forget_people)
async def follow_residents(uow: UnitOfWork, residents: Sequence[Resident]) -> None:
    """Copy the region, household and tags of residents. Open orders move with them.

    A positive of the household may have arrived earlier. Then the order opens now.
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
    await uow.upsert(PersonRow, values)
    await cascade_people(uow, [resident.id for resident in residents])


async def forget_tubes(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete tubes that testing no longer has. Orders and referrals based on them are withdrawn."""
    await _replace(uow, ids, [])


@reacts_to(Tube, forget=forget_tubes)
async def follow_tubes(uow: UnitOfWork, tubes: Sequence[Tube]) -> None:
    """Store the findings of single tubes, and open or withdraw orders and referrals. Pools are not stored.

    A tube for one person that holds several is a pool. It is processed too, because it may have been single before.
    """
    singles = [tube for tube in tubes if tube.capacity == 1]
    if singles:
        await _replace(uow, [tube.id for tube in singles], [one for tube in singles for one in rules.findings_of(tube)])


async def _replace(uow: UnitOfWork, tubes: Sequence[UUID], findings: Sequence[rules.Finding]) -> None:
    """Replace the stored findings of these tubes."""
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
    former = await uow.replace(FindingRow, tubes, values)
    await cascade_people(uow, former | {one.resident_id for one in findings}, tubes)
