"""Reaction to fevers measured at doors.

A person who is not on record is referred too, because the code was genuine and 120 comes to the service point.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from sqlalchemy import text

from services.observation.people.cascade import TURN, TURN_KEY
from services.observation.protocols.rules import Protocol
from services.observation.protocols.use_cases import protocol_in_force
from services.observation.referrals import cascade, rules
from services.observation.referrals.tables import FeverRow
from shared.contracts.gateway import DoorFever
from shared.core.actors import Role
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to

logger = structlog.get_logger()

SELECT_KNOWN_FEVERS = text("SELECT id FROM fevers WHERE id = ANY(CAST(:ids AS uuid[]))")
SELECT_LAST_ENDED = text("""
    SELECT DISTINCT ON (resident_id) resident_id, id, closed_at FROM referrals
    WHERE resident_id = ANY(CAST(:residents AS uuid[])) AND closed_at IS NOT NULL
    ORDER BY resident_id, closed_at DESC
""")


async def forget_fevers(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete nothing: a reading stays with its episode, independent of the retention of visits."""


@reacts_to(DoorFever, forget=forget_fevers)
async def follow_door_fevers(uow: UnitOfWork, fevers: Sequence[DoorFever]) -> None:
    """Open one referral per person for fevers measured at doors, or add each reading to its episode.

    A reading has the id of its scan, so it counts once even if it arrives twice. A reading from before the end of an
    episode belongs to that episode, even if it arrives later. Temperatures below the protocol's limit are ignored.
    """
    await uow.run(TURN, key=TURN_KEY)
    protocol = await protocol_in_force(uow)
    known = {row["id"] for row in await uow.rows(SELECT_KNOWN_FEVERS, ids=in_order(one.id for one in fevers))}
    new = [one for one in fevers if one.id not in known and _counts(one, uow, protocol)]
    if not new:
        return
    new.sort(key=lambda one: (one.measured_at, one.id))
    ended = {
        row["resident_id"]: row
        for row in await uow.rows(SELECT_LAST_ENDED, residents=in_order(one.resident_id for one in new))
    }
    episodes: dict[UUID, UUID] = {}
    fresh = []
    for one in new:
        last = ended.get(one.resident_id)
        if last is not None and one.measured_at <= last["closed_at"]:
            episodes[one.id] = last["id"]
        else:
            fresh.append(one)
    opened = await _episodes_of(uow, protocol, fresh)
    episodes.update({one.id: opened[one.resident_id] for one in fresh})
    await uow.insert_all(FeverRow, [_values(one, episodes) for one in new])


def _counts(one: DoorFever, uow: UnitOfWork, protocol: Protocol) -> bool:
    if not rules.is_fever(one.celsius, protocol):
        return False
    if not rules.is_recent(one.measured_at, uow.now, protocol):
        logger.warning("fever.too_old", scan=str(one.id), measured_at=one.measured_at.isoformat())
        return False
    return True


async def _episodes_of(uow: UnitOfWork, protocol: Protocol, fevers: Sequence[DoorFever]) -> Mapping[UUID, UUID]:
    """Return the open referral of each person. A missing one is opened in the region of the person's first fever."""
    if not fevers:
        return {}
    firsts = {one.resident_id: one for one in reversed(fevers)}
    residents = in_order(firsts)
    await cascade.open_referrals(
        uow,
        protocol,
        [(one, firsts[one].region) for one in residents],
        [None] * len(residents),
        [str(firsts[one].point_id) for one in residents],
    )
    rows = await cascade.lock_open(uow, residents)
    made = [row for row in rows if row.version == 1 and row.reported_at == uow.now and row.reason == "fever"]
    uow.publish_all([row.public() for row in made], change="reported", urgent=True)
    return {row.resident_id: row.id for row in rows}


def _values(one: DoorFever, episodes: Mapping[UUID, UUID]) -> dict[str, object]:
    return {
        "id": one.id,
        "region": one.region,
        "referral_id": episodes[one.id],
        "resident_id": one.resident_id,
        "party": str(one.point_id),
        "role": Role.DOORKEEPER.label,
        "celsius": one.celsius,
        "symptoms": [],
        "measured_at": one.measured_at,
    }
