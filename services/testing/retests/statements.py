"""The statements that move many retests at once. They run within `uow.unscoped`.

The rules decide which pools call their members and which states a move allows. The statements get both as parameters.
"""

from sqlalchemy import text

from services.testing.tubes.people import pool

PUBLIC_COLUMNS = "retests.id, retests.version, retests.region, retests.resident_id, retests.pool_id, retests.state, \
retests.called_at, retests.due_at, retests.tube_id, retests.outcome"

# Lock all retests that the statements below can change, in the order of ids.
LOCK_RETESTS = text("""
    SELECT id FROM retests
    WHERE pool_id = ANY(CAST(:tubes AS uuid[])) OR tube_id = ANY(CAST(:tubes AS uuid[]))
       OR (resident_id, pool_id) IN (
           SELECT samples.resident_id, unnest(tubes.answers) FROM tubes JOIN samples ON samples.tube_id = tubes.id
           WHERE tubes.id = ANY(CAST(:tubes AS uuid[])) AND tubes.answers <> '{}'
       )
    ORDER BY id FOR UPDATE
""")

# The pools that required the retests answered by these single tubes, with the input of `rules.calls_members`.
SELECT_POOLS_OF_SINGLE_TUBES = text(f"""
    SELECT id, outcome, drill, {pool("tubes")} AS pool FROM tubes
    WHERE id IN (SELECT pool_id FROM retests WHERE tube_id = ANY(CAST(:tubes AS uuid[])))
""")  # noqa: S608 - a condition of this service

# Insert a retest for each member of the calling pools who has none, members with an exception included. Withdrawn
# retests are called again.
CALL_MEMBERS = text(f"""
    INSERT INTO retests (id, region, resident_id, pool_id, state, called_at, due_at)
    SELECT uuidv7(), region, resident_id, pool_id, 'called', :now, :due
    FROM (
        SELECT DISTINCT pool.id AS pool_id, samples.resident_id, coalesce(people.region, samples.region) AS region
        FROM tubes AS pool
        JOIN samples ON samples.tube_id = pool.id AND samples.undone_at IS NULL
        LEFT JOIN people ON people.id = samples.resident_id
        WHERE pool.id = ANY(CAST(:calling AS uuid[]))
        ORDER BY pool.id, samples.resident_id
    ) AS member
    ON CONFLICT (pool_id, resident_id) DO UPDATE SET state = 'called', called_at = excluded.called_at,
        due_at = excluded.due_at, tube_id = NULL, outcome = NULL, version = retests.version + 1, updated_at = now()
        WHERE retests.state = ANY(CAST(:states AS text[]))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608 - constants of this module

# A correction made these pools unsuspicious.
WITHDRAW_RETESTS = text(f"""
    UPDATE retests SET state = 'withdrawn', version = retests.version + 1, updated_at = now()
    WHERE pool_id = ANY(CAST(:pools AS uuid[])) AND state = ANY(CAST(:states AS text[]))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608

# Swabs that answer pools were kept.
RECORD_SINGLE_SWABS = text(f"""
    UPDATE retests SET state = 'sampled', tube_id = swab.tube_id, version = retests.version + 1, updated_at = now()
    FROM unnest(CAST(:tubes AS uuid[]), CAST(:residents AS uuid[]), CAST(:pools AS uuid[]))
        AS swab (tube_id, resident_id, pool_id)
    WHERE retests.resident_id = swab.resident_id AND retests.pool_id = swab.pool_id
      AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608

ADD_ANSWERED_POOLS = text("""
    UPDATE tubes SET version = version + 1, updated_at = now(), answers = ARRAY(
        SELECT pool FROM unnest(tubes.answers) AS pool UNION SELECT pool_id FROM unnest(
            CAST(:tubes AS uuid[]), CAST(:pools AS uuid[])) AS swab (tube_id, pool_id) WHERE swab.tube_id = tubes.id
        ORDER BY 1
    )
    WHERE id = ANY(CAST(:tubes AS uuid[]))
""")

# If a member of a pool becomes known late, the person may already have a single swab taken after the pool's result.
SELECT_LATER_SINGLE_SWABS = text(f"""
    SELECT DISTINCT ON (retests.id) samples.tube_id, retests.resident_id, retests.pool_id
    FROM retests
    JOIN tubes AS pool ON pool.id = retests.pool_id
    JOIN samples ON samples.resident_id = retests.resident_id AND samples.undone_at IS NULL
        AND samples.sampled_at > pool.reported_at
    JOIN tubes AS single ON single.id = samples.tube_id AND NOT {pool("single")} AND single.id <> pool.id
        AND single.state <> 'discarded' AND coalesce(single.outcome IN ('negative', 'positive'), true)
    WHERE retests.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY retests.id, samples.sampled_at DESC
""")  # noqa: S608

# The result of a single tube settles only the retests it answers, whose pools were reported before its swab. A
# correction of the single tube settles them again.
SETTLE_RETESTS = text(f"""
    UPDATE retests SET state = 'settled', outcome = single.outcome, tube_id = single.id,
        version = retests.version + 1, updated_at = now()
    FROM tubes AS single JOIN samples ON samples.tube_id = single.id AND samples.undone_at IS NULL, tubes AS pool
    WHERE single.id = ANY(CAST(:tubes AS uuid[])) AND NOT {pool("single")}
      AND pool.id = retests.pool_id AND samples.sampled_at > pool.reported_at
      AND single.outcome IN ('negative', 'positive') AND (single.outcome = 'positive' OR NOT single.held)
      AND retests.resident_id = samples.resident_id AND retests.pool_id = ANY(single.answers)
      AND retests.state = ANY(CAST(:states AS text[]))
      AND (retests.state <> 'settled' OR (retests.tube_id = single.id AND retests.outcome <> single.outcome))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608

# The single tube was lost, undone, gave no clear result, or held several people when its result came. The person is
# called again if the pool is still suspect.
RECALL_MEMBERS = text(f"""
    UPDATE retests SET state = 'called', tube_id = NULL, outcome = NULL, due_at = :due,
        version = retests.version + 1, updated_at = now()
    FROM tubes AS single
    WHERE single.id = ANY(CAST(:tubes AS uuid[])) AND retests.tube_id = single.id
      AND retests.pool_id = ANY(CAST(:calling AS uuid[]))
      AND (single.state = 'discarded' OR single.outcome IN ('inconclusive', 'invalid')
           OR (single.outcome IS NOT NULL AND {pool("single")})
           OR NOT EXISTS (
               SELECT FROM samples WHERE samples.tube_id = single.id AND samples.resident_id = retests.resident_id
                 AND samples.undone_at IS NULL))
      AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608

# A single tube holds one person, so the new tube answers all that the old one answered.
MOVE_ANSWERED_POOLS = text("""
    UPDATE tubes SET answers = CASE id WHEN :new THEN (
            SELECT coalesce(array_agg(pool_id ORDER BY pool_id), '{}') FROM retests WHERE tube_id = :old
        ) ELSE '{}' END, version = version + 1, updated_at = now()
    WHERE id IN (:old, :new)
""")
MOVE_RETESTS = text(f"""
    UPDATE retests SET tube_id = :new, version = version + 1, updated_at = now()
    WHERE tube_id = :old AND resident_id = :resident AND state = ANY(CAST(:states AS text[]))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608

MOVE_RETESTS_WITH_PEOPLE = text(f"""
    UPDATE retests SET region = people.region, version = retests.version + 1, updated_at = now()
    FROM people
    WHERE people.id = ANY(CAST(:residents AS uuid[])) AND retests.resident_id = people.id
      AND retests.region <> people.region AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {PUBLIC_COLUMNS}
""")  # noqa: S608

SELECT_MY_RETESTS = text("""
    SELECT seq, id, resident_id, pool_id, tube_id, state, called_at, due_at, outcome FROM retests
    WHERE seq < :before ORDER BY seq DESC LIMIT :limit
""")
