"""Samples: mistakes noticed before the seal. A swab is undone, or found to be in another tube of the round."""

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
from shared.problems import Conflict, NotFound
from shared.work import Work

LOOK = text("""
    SELECT id, campaign_id, tube_id, resident_id, sampled_at, exception, retest, undone_at FROM samples WHERE id = :id
""")
UNDO = text("""
    UPDATE samples SET undone_at = :now, undone_reason = :reason, counted = false WHERE id = :id
    RETURNING id, campaign_id, tube_id, resident_id, sampled_at, exception, undone_at
""")
MOVE = text("""
    UPDATE samples SET tube_id = :target, region = :region, exception = :exception,
        counted = CAST(:exception AS text) IS NULL AND NOT retest,
        moved_from = coalesce(moved_from, tube_id), moved_reason = :reason
    WHERE id = :id
    RETURNING id, campaign_id, tube_id, resident_id, sampled_at, exception, undone_at
""")

# What a tube holds is counted from its samples: corrections are rare, and right before fast. It answers only what its
# people are called for, and not what somebody was called for who is no longer in it.
RECOUNT = text("""
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


async def undo_sample(work: Work, sample_id: UUID, undo: Undo) -> KeptSample:
    """Undone again says the same: a device repeats what it is not sure of."""
    sample = await _look(work, sample_id)
    async with work.everywhere():
        sample, _ = await _locked(work, sample)
        if sample["undone_at"] is None:
            sample = (await work.rows(UNDO, id=sample_id, now=work.now, reason=undo.reason))[0]
            await retests.recall(work, [sample["tube_id"]])
            await work.run(RECOUNT, ids=[sample["tube_id"]])
    return _say(sample)


async def move_sample(work: Work, sample_id: UUID, to: MoveSample) -> KeptSample:
    sample = await _look(work, sample_id)
    target = (await lookup.find_tubes(work, [to.tube_number])).get(to.tube_number)
    if target is None:
        raise TubeUnknown(at="/tube_number")
    if target.campaign_id != sample["campaign_id"]:
        raise TubeOfOtherRound(at="/tube_number")
    async with work.everywhere():
        await lookup.create(work, [target])
        sample, tubes = await _locked(work, sample, target.id)
        if sample["undone_at"] is not None:
            raise NotFound()
        if sample["tube_id"] == target.id:
            return _say(sample)
        _check_room(tubes[target.id], sample)
        exception = rules.after_move(sample["exception"], target_capacity=target.capacity)
        moved = await work.rows(
            MOVE, id=sample_id, target=target.id, region=target.region, exception=exception, reason=to.reason
        )
        await work.run(RECOUNT, ids=sorted([sample["tube_id"], target.id]))
        if sample["retest"]:
            await retests.move(work, sample["tube_id"], target.id, sample["resident_id"])
    return _say(moved[0])


def _check_room(target: RowMapping, sample: RowMapping) -> None:
    if target["people"] >= target["capacity"]:
        raise TubeFull(at="/tube_number")
    if sample["retest"] and target["capacity"] > 1:
        raise SingleOnly(at="/tube_number")


async def _look(work: Work, sample_id: UUID) -> RowMapping:
    rows = await work.rows(LOOK, id=sample_id)
    if not rows:
        raise NotFound()
    work.saw([rows[0]["resident_id"]])
    return rows[0]


async def _locked(work: Work, sample: RowMapping, *others: UUID) -> tuple[RowMapping, dict[UUID, RowMapping]]:
    """The sample as it is once its tube, and the others, are locked and found to be open still."""
    tubes = await lookup.lock_tubes(work, [sample["tube_id"], *others])
    again = await work.rows(LOOK, id=sample["id"])
    if not again or again[0]["tube_id"] != sample["tube_id"]:
        raise Conflict()  # somebody else moved it, or a seal set it aside, while we waited
    for tube in tubes.values():
        if tube["state"] == "discarded":
            raise TubeDiscarded()
        if tube["state"] != "open":
            raise TubeSealed()
    return again[0], tubes


def _say(sample: RowMapping) -> KeptSample:
    return KeptSample(**{name: sample[name] for name in KeptSample.model_fields})
