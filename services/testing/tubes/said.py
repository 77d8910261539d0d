"""Tubes as the API and the feed say them, with the samples in them. Made by one statement for any number of tubes.

A tube is put on the feed when somebody's rights may depend on it: sealed, its manifest completed, received, resulted or
corrected, discarded. Not at each swab into an open tube, nor when its box departs: nobody can act on that, and the
snapshot says it to whoever rebuilds.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import text

from shared.contracts.testing import Tube
from shared.feed.log import uuids
from shared.work import Work

SAY = """
    SELECT json_build_object(
        'id', id, 'version', version, 'region', region, 'campaign_id', campaign_id, 'number', number,
        'capacity', capacity, 'state', state, 'drill', drill, 'missing', missing, 'answers', answers,
        'sealed_at', sealed_at, 'received_at', received_at, 'laboratory', laboratory, 'held', held,
        'result', CASE WHEN outcome IS NOT NULL THEN json_build_object(
            'outcome', outcome, 'revision', revision, 'tested_at', tested_at, 'reported_at', reported_at) END,
        'samples', coalesce(
            (SELECT json_agg(json_build_object('id', samples.id, 'resident_id', resident_id, 'sampled_at', sampled_at,
                 'exception', exception) ORDER BY samples.id)
             FROM samples WHERE tube_id = tubes.id AND undone_at IS NULL),
            '[]')
    )::text AS said
    FROM tubes WHERE {which}
    ORDER BY id LIMIT :limit
"""
SAY_THESE = text(SAY.format(which="id = ANY(CAST(:ids AS uuid[]))"))
SAY_AFTER = text(SAY.format(which="id > :after"))

LOWEST = UUID(int=0)


async def say_tubes(work: Work, ids: Iterable[UUID]) -> list[Tube]:
    """The public state of these tubes, in the order of their ids."""
    wanted = uuids(ids)
    rows = await work.rows(SAY_THESE, ids=wanted, limit=len(wanted)) if wanted else []
    return [Tube.model_validate_json(row["said"]) for row in rows]


async def publish_tubes(work: Work, ids: Iterable[UUID], *, change: str, urgent: bool = False) -> None:
    """Put the present state of these tubes on the feed."""
    work.publish_all(await say_tubes(work, ids), change=change, urgent=urgent)


async def tubes_after(work: Work, after: UUID | None, limit: int) -> Sequence[Tube]:
    """The snapshot of all tubes, a page at a time."""
    rows = await work.rows(SAY_AFTER, after=after or LOWEST, limit=limit)
    return [Tube.model_validate_json(row["said"]) for row in rows]
