"""Retests: the statements that move many of them at once, each explained once. They run within `work.everywhere`."""

from sqlalchemy import text

from services.testing.tubes.people import pool

SAID = "retests.id, retests.version, retests.region, retests.resident_id, retests.pool_id, retests.state, \
retests.called_at, retests.due_at, retests.tube_id, retests.outcome"

# What calls its members: a positive pool, and the grey zone of any tube (rules.calls_members).
CALLS = f"""
    NOT pool.drill AND (pool.outcome = 'inconclusive' OR (pool.outcome = 'positive' AND {pool("pool")}))
"""

# Whatever the statements below may touch is locked first, in the order of ids.
LOCK = text("""
    SELECT id FROM retests
    WHERE pool_id = ANY(CAST(:tubes AS uuid[])) OR tube_id = ANY(CAST(:tubes AS uuid[]))
       OR (resident_id, pool_id) IN (
           SELECT samples.resident_id, unnest(tubes.answers) FROM tubes JOIN samples ON samples.tube_id = tubes.id
           WHERE tubes.id = ANY(CAST(:tubes AS uuid[])) AND tubes.answers <> '{}'
       )
    ORDER BY id FOR UPDATE
""")

# One for each member, exceptions included, who has none because of this pool. A withdrawn one is called again.
CALL = text(f"""
    INSERT INTO retests (id, region, resident_id, pool_id, state, called_at, due_at)
    SELECT uuidv7(), region, resident_id, pool_id, 'called', :now, :due
    FROM (
        SELECT DISTINCT pool.id AS pool_id, samples.resident_id, coalesce(people.region, samples.region) AS region
        FROM tubes AS pool
        JOIN samples ON samples.tube_id = pool.id AND samples.undone_at IS NULL
        LEFT JOIN people ON people.id = samples.resident_id
        WHERE pool.id = ANY(CAST(:tubes AS uuid[])) AND {CALLS}
        ORDER BY pool.id, samples.resident_id
    ) AS member
    ON CONFLICT (pool_id, resident_id) DO UPDATE SET state = 'called', called_at = excluded.called_at,
        due_at = excluded.due_at, tube_id = NULL, outcome = NULL, version = retests.version + 1, updated_at = now()
        WHERE retests.state = 'withdrawn'
    RETURNING {SAID}
""")  # noqa: S608 - constants of this module

# A correction took away what they rested on.
WITHDRAW = text(f"""
    UPDATE retests SET state = 'withdrawn', version = retests.version + 1, updated_at = now()
    FROM tubes AS pool
    WHERE pool.id = retests.pool_id AND pool.id = ANY(CAST(:tubes AS uuid[]))
      AND NOT ({CALLS}) AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {SAID}
""")  # noqa: S608

# A swab that answers pools has been kept.
SAMPLE = text(f"""
    UPDATE retests SET state = 'sampled', tube_id = swab.tube_id, version = retests.version + 1, updated_at = now()
    FROM unnest(CAST(:tubes AS uuid[]), CAST(:residents AS uuid[]), CAST(:pools AS uuid[]))
        AS swab (tube_id, resident_id, pool_id)
    WHERE retests.resident_id = swab.resident_id AND retests.pool_id = swab.pool_id
      AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {SAID}
""")  # noqa: S608

ANSWER = text("""
    UPDATE tubes SET version = version + 1, updated_at = now(), answers = ARRAY(
        SELECT pool FROM unnest(tubes.answers) AS pool UNION SELECT pool_id FROM unnest(
            CAST(:tubes AS uuid[]), CAST(:pools AS uuid[])) AS swab (tube_id, pool_id) WHERE swab.tube_id = tubes.id
        ORDER BY 1
    )
    WHERE id = ANY(CAST(:tubes AS uuid[]))
""")

# A person who became known as a pool's member late may have been swabbed singly since the pool's result.
SWABBED_SINCE = text(f"""
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

# A single tube's result settles what it answers, and nothing else: it was swabbed after what the pool says now. A
# correction settles it anew.
SETTLE = text(f"""
    UPDATE retests SET state = 'settled', outcome = single.outcome, tube_id = single.id,
        version = retests.version + 1, updated_at = now()
    FROM tubes AS single JOIN samples ON samples.tube_id = single.id AND samples.undone_at IS NULL, tubes AS pool
    WHERE single.id = ANY(CAST(:tubes AS uuid[])) AND NOT {pool("single")}
      AND pool.id = retests.pool_id AND samples.sampled_at > pool.reported_at
      AND single.outcome IN ('negative', 'positive') AND (single.outcome = 'positive' OR NOT single.held)
      AND retests.resident_id = samples.resident_id AND retests.pool_id = ANY(single.answers)
      AND retests.state = ANY(CAST(:states AS text[]))
      AND (retests.state <> 'settled' OR (retests.tube_id = single.id AND retests.outcome <> single.outcome))
    RETURNING {SAID}
""")  # noqa: S608

# The single tube was lost, undone, told nothing, or held several people when its result came: the person is called
# again, as long as the pool stands.
RECALL = text(f"""
    UPDATE retests SET state = 'called', tube_id = NULL, outcome = NULL, due_at = :due,
        version = retests.version + 1, updated_at = now()
    FROM tubes AS single, tubes AS pool
    WHERE single.id = ANY(CAST(:tubes AS uuid[])) AND retests.tube_id = single.id AND pool.id = retests.pool_id
      AND (single.state = 'discarded' OR single.outcome IN ('inconclusive', 'invalid')
           OR (single.outcome IS NOT NULL AND {pool("single")})
           OR NOT EXISTS (
               SELECT FROM samples WHERE samples.tube_id = single.id AND samples.resident_id = retests.resident_id
                 AND samples.undone_at IS NULL))
      AND {CALLS} AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {SAID}
""")  # noqa: S608

# A single tube holds one person: what the old one answered, the new one answers.
ANSWER_INSTEAD = text("""
    UPDATE tubes SET answers = CASE id WHEN :new THEN (
            SELECT coalesce(array_agg(pool_id ORDER BY pool_id), '{}') FROM retests WHERE tube_id = :old
        ) ELSE '{}' END, version = version + 1, updated_at = now()
    WHERE id IN (:old, :new)
""")
MOVE = text(f"""
    UPDATE retests SET tube_id = :new, version = version + 1, updated_at = now()
    WHERE tube_id = :old AND resident_id = :resident AND state = 'sampled'
    RETURNING {SAID}
""")  # noqa: S608

FOLLOW_PEOPLE = text(f"""
    UPDATE retests SET region = people.region, version = retests.version + 1, updated_at = now()
    FROM people
    WHERE people.id = ANY(CAST(:residents AS uuid[])) AND retests.resident_id = people.id
      AND retests.region <> people.region AND retests.state = ANY(CAST(:states AS text[]))
    RETURNING {SAID}
""")  # noqa: S608

MINE = text("""
    SELECT seq, id, resident_id, pool_id, tube_id, state, called_at, due_at, outcome FROM retests
    WHERE seq < :before ORDER BY seq DESC LIMIT :limit
""")
