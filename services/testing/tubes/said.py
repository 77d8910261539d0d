"""Tubes as the API and the feed say them, with the samples in them. Made by one statement for any number of tubes.

What the statement says goes onto the feed without a model between: to read a tube of ten and write it again took 18 µs,
a third of what a laboratory's report of it asked of Python, and this takes 6.

A tube is put on the feed when somebody's rights may depend on it: sealed, its manifest completed, received, resulted or
corrected, discarded. Not at each swab into an open tube, nor when its box departs: nobody can act on that, and the
snapshot says it to whoever rebuilds.
"""

import re
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.tubes import people
from shared.bulk import literal
from shared.contracts.testing import Tube
from shared.feed.log import Written
from shared.ids import in_order
from shared.work import Work

# A pool answers no other pool, whatever its people were swabbed for.
SAY = """
    SELECT id, version, region, drill, state, outcome, pool, json_build_object(
        'id', id, 'version', version, 'region', region, 'campaign_id', campaign_id, 'number', number,
        'capacity', capacity, 'people', CASE WHEN pool THEN 'pool' ELSE 'single' END,
        'state', state, 'drill', drill, 'samples', coalesce(
            (SELECT json_agg(json_build_object('id', samples.id, 'resident_id', resident_id, 'sampled_at', sampled_at,
                 'exception', exception) ORDER BY samples.id)
             FROM samples WHERE tube_id = tubes.id AND undone_at IS NULL),
            '[]'),
        'missing', missing, 'answers', CASE WHEN pool THEN '{{}}' ELSE answers END,
        'sealed_at', sealed_at, 'received_at', received_at, 'laboratory', laboratory,
        'result', CASE WHEN outcome IS NOT NULL THEN json_build_object(
            'outcome', outcome, 'revision', revision, 'tested_at', tested_at, 'reported_at', reported_at) END,
        'held', held
    )::text AS said
    FROM {which} AS tubes
"""
IS_POOL = f"{people.pool('tubes')} AS pool"
SAY_THESE = text(
    SAY.format(
        which=f"""unnest(CAST(CAST(:ids AS text) AS uuid[])) AS asked (asked_id)
        CROSS JOIN LATERAL (SELECT *, {IS_POOL} FROM tubes WHERE tubes.id = asked_id LIMIT 1)"""  # noqa: S608
    )
)
SAY_AFTER = text(
    SAY.format(which=f"(SELECT *, {IS_POOL} FROM tubes WHERE id > :after ORDER BY id LIMIT :limit)")  # noqa: S608
)

LOWEST = UUID(int=0)
PART_OF_SECOND = re.compile(r'\.(\d{1,5})Z"')
"""As PostgreSQL writes it, which leaves out the zeros at its end."""


async def look_at_tubes(work: Work, ids: Iterable[UUID]) -> Sequence[RowMapping]:
    """What there is to say of these tubes, beside what decides what follows from it, in the order of their ids."""
    wanted = in_order(ids)
    return await work.rows(SAY_THESE, ids=literal(wanted)) if wanted else []


async def say_tubes(work: Work, ids: Iterable[UUID]) -> list[Tube]:
    """The public state of these tubes, in the order of their ids."""
    return [Tube.model_validate_json(row["said"]) for row in await look_at_tubes(work, ids)]


def written(tube: RowMapping) -> Written:
    """A tube as the feed carries it, letter for letter as the model would: no spaces, Z for UTC, microseconds whole."""
    said = msgspec.json.format(tube["said"], indent=-1).replace('+00:00"', 'Z"')
    said = PART_OF_SECOND.sub(lambda found: f'.{found[1]:0<6}Z"', said)
    return Written(tube["id"], tube["version"], tube["region"], said)


async def publish_tubes(work: Work, ids: Iterable[UUID], *, change: str) -> None:
    """Put the present state of these tubes on the feed."""
    for tube in await look_at_tubes(work, ids):
        work.publish_written(Tube, written(tube), change=change)


async def tubes_after(work: Work, after: UUID | None, limit: int) -> Sequence[Written]:
    """The snapshot of all tubes, a page at a time."""
    return [written(tube) for tube in await work.rows(SAY_AFTER, after=after or LOWEST, limit=limit)]
