"""Corrections of samples before the seal: a swab is undone, or moved to another tube of the round."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.problems import (
    SingleOnly,
    TubeDiscarded,
    TubeFull,
    TubeOfOtherRound,
    TubeSealed,
    TubeUnknown,
)
from services.testing.retests import use_cases as retests
from services.testing.tubes import lookup, rules
from services.testing.tubes.schemas import KeptSample, MoveSample, Undo
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Conflict, NotFound

SELECT_SAMPLE = text("""
    SELECT id, campaign_id, tube_id, resident_id, sampled_at, exception, retest, undone_at FROM samples WHERE id = :id
""")
UNDO_SAMPLE = text("""
    UPDATE samples SET undone_at = :now, undone_reason = :reason, counted = false WHERE id = :id
    RETURNING id, campaign_id, tube_id, resident_id, sampled_at, exception, undone_at
""")
MOVE_SAMPLE = text("""
    UPDATE samples SET tube_id = :target, region = :region, exception = :exception,
        counted = CAST(:exception AS text) IS NULL AND NOT retest,
        moved_from = coalesce(moved_from, tube_id), moved_reason = :reason
    WHERE id = :id
    RETURNING id, campaign_id, tube_id, resident_id, sampled_at, exception, undone_at
""")

# Count the content of a tube from its samples. Corrections are rare, so this can be slower than adding up. The tube
# keeps in `answers` only the pools for which a person still in it is called to a retest.
RECOUNT_TUBES = text("""
    UPDATE tubes SET
        people = (SELECT count(*) FROM samples
                  WHERE tube_id = tubes.id AND undone_at IS NULL AND exception IS NULL),
        first_sampled_at = (SELECT min(sampled_at) FROM samples WHERE tube_id = tubes.id AND undone_at IS NULL),
        answers = ARRAY(SELECT answered FROM unnest(tubes.answers) AS answered WHERE EXISTS (
            SELECT FROM samples JOIN retests ON retests.resident_id = samples.resident_id AND pool_id = answered
            WHERE samples.tube_id = tubes.id AND undone_at IS NULL AND exception IS DISTINCT FROM 'stale_code')),
        version = version + 1, updated_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def undo_sample(uow: UnitOfWork, sample_id: UUID, undo: Undo) -> KeptSample:
    """Undo a swab. A repeated request has the same answer, because a device repeats what it is not sure of."""
    sample = await _get_sample(uow, sample_id)
    async with uow.unscoped():
        sample, _ = await _locked(uow, sample)
        if sample["undone_at"] is None:
            sample = (await uow.rows(UNDO_SAMPLE, id=sample_id, now=uow.now, reason=undo.reason))[0]
            await retests.recall(uow, [sample["tube_id"]])
            await uow.run(RECOUNT_TUBES, ids=[sample["tube_id"]])
    return _to_public(sample)


async def move_sample(uow: UnitOfWork, sample_id: UUID, to: MoveSample) -> KeptSample:
    """Move a swab to another tube of its round. Both tubes must be open."""
    sample = await _get_sample(uow, sample_id)
    target = (await lookup.find_tubes(uow, [to.tube_number])).get(to.tube_number)
    if target is None:
        raise TubeUnknown(at="/tube_number")
    if target.campaign_id != sample["campaign_id"]:
        raise TubeOfOtherRound(at="/tube_number")
    async with uow.unscoped():
        await lookup.create(uow, [target])
        sample, tubes = await _locked(uow, sample, target.id)
        if sample["undone_at"] is not None:
            raise NotFound()
        if sample["tube_id"] == target.id:
            return _to_public(sample)
        _check_room(tubes[target.id], sample)
        exception = rules.after_move(sample["exception"], target_capacity=target.capacity)
        moved = await uow.rows(
            MOVE_SAMPLE, id=sample_id, target=target.id, region=target.region, exception=exception, reason=to.reason
        )
        await uow.run(RECOUNT_TUBES, ids=sorted([sample["tube_id"], target.id]))
        if sample["retest"]:
            await retests.move(uow, sample["tube_id"], target.id, sample["resident_id"])
    return _to_public(moved[0])


def _check_room(target: RowMapping, sample: RowMapping) -> None:
    if target["people"] >= target["capacity"]:
        raise TubeFull(at="/tube_number")
    if sample["retest"] and target["capacity"] > 1:
        raise SingleOnly(at="/tube_number")


async def _get_sample(uow: UnitOfWork, sample_id: UUID) -> RowMapping:
    rows = await uow.rows(SELECT_SAMPLE, id=sample_id)
    if not rows:
        raise NotFound()
    uow.record_access([rows[0]["resident_id"]])
    return rows[0]


async def _locked(uow: UnitOfWork, sample: RowMapping, *others: UUID) -> tuple[RowMapping, dict[UUID, RowMapping]]:
    """Lock the sample's tube and the other tubes, check that all are open, and read the sample again."""
    tubes = await lookup.lock_tubes(uow, [sample["tube_id"], *others])
    current = await uow.rows(SELECT_SAMPLE, id=sample["id"])
    if not current or current[0]["tube_id"] != sample["tube_id"]:
        raise Conflict()  # another request moved it, or a seal set it aside, before this one had the lock
    for tube in tubes.values():
        if tube["state"] == "discarded":
            raise TubeDiscarded()
        if tube["state"] != "open":
            raise TubeSealed()
    return current[0], tubes


def _to_public(sample: RowMapping) -> KeptSample:
    return KeptSample(**{name: sample[name] for name in KeptSample.model_fields})
