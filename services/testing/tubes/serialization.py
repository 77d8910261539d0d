"""The public form of tubes with their samples, for the API and the feed. One statement makes it for many tubes.

The JSON of the statement goes onto the feed without a Pydantic model, because reading and writing a tube of ten with
the model took 18 µs, a third of the Python time of a laboratory's report. This takes 6 µs.

A tube is published when a person's rights can depend on it: sealed, manifest completed, received, resulted or
corrected, discarded. A swab into an open tube and the departure of its box are not published, because nobody can act
on them. The snapshot contains them.
"""

import re
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.tubes import people
from shared.contracts.testing import Tube
from shared.core.ids import in_order
from shared.database.bulk import literal
from shared.database.unit_of_work import UnitOfWork
from shared.feed.log import Written

# A pool answers no other pool, even if its people were swabbed for a retest.
SELECT_PUBLIC_TUBES = """
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
    )::text AS payload
    FROM {which} AS tubes
"""
IS_POOL = f"{people.pool('tubes')} AS pool"
SELECT_THESE_TUBES = text(
    SELECT_PUBLIC_TUBES.format(
        which=f"""unnest(CAST(CAST(:ids AS text) AS uuid[])) AS query (query_id)
        CROSS JOIN LATERAL (SELECT *, {IS_POOL} FROM tubes WHERE tubes.id = query_id LIMIT 1)"""  # noqa: S608
    )
)
SELECT_TUBES_AFTER = text(
    SELECT_PUBLIC_TUBES.format(which=f"(SELECT *, {IS_POOL} FROM tubes WHERE id > :after ORDER BY id LIMIT :limit)")  # noqa: S608
)

LOWEST = UUID(int=0)
PART_OF_SECOND = re.compile(r'\.(\d{1,5})Z"')
"""The fraction of a second as PostgreSQL writes it, without trailing zeros."""


async def look_at_tubes(uow: UnitOfWork, ids: Iterable[UUID]) -> Sequence[RowMapping]:
    """Return the JSON of these tubes in the order of their ids, with the columns on which consequences depend."""
    wanted = in_order(ids)
    return await uow.rows(SELECT_THESE_TUBES, ids=literal(wanted)) if wanted else []


async def public_tubes(uow: UnitOfWork, ids: Iterable[UUID]) -> list[Tube]:
    """Return the public state of these tubes, in the order of their ids."""
    return [Tube.model_validate_json(row["payload"]) for row in await look_at_tubes(uow, ids)]


def written(tube: RowMapping) -> Written:
    """Return a tube for the feed, byte for byte as the model writes it: no spaces, Z for UTC, six fraction digits."""
    payload = msgspec.json.format(tube["payload"], indent=-1).replace('+00:00"', 'Z"')
    payload = PART_OF_SECOND.sub(lambda match: f'.{match[1]:0<6}Z"', payload)
    return Written(tube["id"], tube["version"], tube["region"], payload)


async def publish_tubes(uow: UnitOfWork, ids: Iterable[UUID], *, change: str) -> None:
    """Publish the current state of these tubes."""
    for tube in await look_at_tubes(uow, ids):
        uow.publish_serialized(Tube, written(tube), change=change)


async def tubes_after(uow: UnitOfWork, after: UUID | None, limit: int) -> Sequence[Written]:
    """Return one page of the snapshot of all tubes."""
    return [written(tube) for tube in await uow.rows(SELECT_TUBES_AFTER, after=after or LOWEST, limit=limit)]
