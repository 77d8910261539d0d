"""The SQL of delivery. Times that people and tests move are given; leases go by the database's own clock."""

from sqlalchemy import text

LEASE_SECONDS = 30
"""Longer than a batch takes (5 s of launching, 15 s of the last attempt): only a killed worker lets a lease run out."""

INSTALLATION = text("SELECT id FROM installation")

# An endpoint is told only while its owner may see what it is told: a client until it is revoked, a person of command
# while a grant of theirs covers the endpoint's region. Owners that another issuer vouches for are not known here.
DISABLE_ORPHANS = text("""
    UPDATE webhook_endpoints AS endpoint SET state = 'disabled', disabled_reason = 'owner_gone'
    WHERE state = 'enabled' AND CASE
        WHEN owner LIKE 'client:%' THEN NOT EXISTS (
            SELECT FROM clients WHERE 'client:' || client_id = endpoint.owner AND revoked_at IS NULL
        )
        WHEN owner LIKE 'account:%' THEN NOT EXISTS (
            SELECT FROM grants JOIN accounts ON accounts.id = account_id
            WHERE 'account:' || account_id = endpoint.owner AND grants.role = 'command' AND grants.state = 'active'
              AND valid_from <= :now AND (valid_until IS NULL OR valid_until > :now)
              AND starts_with(endpoint.region, grants.region) AND accounts.state = 'active'
        )
        ELSE false
    END
""")
DUE = text("""
    SELECT endpoint.id, endpoint.types,
        EXISTS (
            SELECT FROM webhook_deliveries AS parked
            WHERE parked.endpoint_id = endpoint.id AND parked.state = 'parked' AND parked.next_attempt_at <= :now
        ) AS has_due
    FROM webhook_endpoints AS endpoint
    WHERE endpoint.state = 'enabled' AND (endpoint.next_attempt_at IS NULL OR endpoint.next_attempt_at <= :now)
      AND (endpoint.leased_until IS NULL OR endpoint.leased_until < clock_timestamp())
    ORDER BY endpoint.seq
""")
KNOWN = text("SELECT id FROM webhook_endpoints")
CURSORS = text("""
    SELECT endpoint_id, owner, lane, cursor FROM webhook_cursors WHERE endpoint_id = ANY(CAST(:ids AS uuid[]))
""")

TAKE = text("""
    UPDATE webhook_endpoints SET lease = :lease, leased_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :id AND state = 'enabled' AND (next_attempt_at IS NULL OR next_attempt_at <= :now)
      AND (leased_until IS NULL OR leased_until < clock_timestamp())
""")
# Each step of a turn holds on to its endpoint, and ends if it was disabled, removed or taken over meanwhile.
HOLD = text("""
    UPDATE webhook_endpoints SET leased_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :id AND lease = :lease AND state = 'enabled'
    RETURNING url, types, region, party, secrets_sealed, failures
""")
LET_GO = text("UPDATE webhook_endpoints SET lease = NULL, leased_until = NULL WHERE lease = :lease")
LET_ONE_GO = text("UPDATE webhook_endpoints SET lease = NULL, leased_until = NULL WHERE id = :id AND lease = :lease")

ENDPOINT_CURSORS = text("SELECT endpoint_id, owner, lane, cursor FROM webhook_cursors WHERE endpoint_id = :id")
MOVE = text("""
    UPDATE webhook_cursors SET cursor = :following, moved_at = now()
    WHERE endpoint_id = :endpoint_id AND owner = :owner AND lane = :lane AND cursor = :before
""")

COUNT_PARKED = text("SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = :id AND state = 'parked'")
SENT_BEFORE = text("""
    SELECT event_id FROM webhook_deliveries
    WHERE endpoint_id = :id AND event_id = ANY(CAST(:event_ids AS text[]))
""")
WAITING = text("""
    SELECT DISTINCT type, subject FROM webhook_deliveries
    WHERE endpoint_id = :id AND state = 'parked' AND subject = ANY(CAST(:subjects AS uuid[]))
""")
KEEP = text("""
    INSERT INTO webhook_deliveries (
        id, region, endpoint_id, party, event_id, type, subject, event_version, body, state, attempts,
        last_status, last_error, next_attempt_at, delivered_at
    )
    SELECT entry.id, entry.region, :endpoint_id, :party, entry.event_id, entry.type, entry.subject, entry.version,
        entry.body, entry.state, entry.attempts, entry.status, entry.error, entry.next_attempt_at,
        CASE entry.state WHEN 'delivered' THEN CAST(:now AS timestamptz) END
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:regions AS text[]), CAST(:event_ids AS text[]), CAST(:types AS text[]),
        CAST(:subjects AS uuid[]), CAST(:versions AS bigint[]), CAST(:bodies AS text[]), CAST(:states AS text[]),
        CAST(:attempts AS bigint[]), CAST(:statuses AS bigint[]), CAST(:errors AS text[]),
        CAST(:next_attempts AS timestamptz[])
    ) WITH ORDINALITY AS entry (
        id, region, event_id, type, subject, version, body, state, attempts, status, error, next_attempt_at, place
    )
    ORDER BY entry.place
    ON CONFLICT (endpoint_id, event_id) DO NOTHING
""")

PARKED_DUE = text("""
    SELECT id, event_id, type, subject, event_version, region, body, attempts FROM webhook_deliveries
    WHERE endpoint_id = :id AND state = 'parked' AND next_attempt_at <= :now
    ORDER BY seq LIMIT :limit
""")
SETTLE = text("""
    UPDATE webhook_deliveries AS delivery
    SET state = entry.state, attempts = delivery.attempts + 1, last_status = entry.status, last_error = entry.error,
        next_attempt_at = entry.next_attempt_at, version = delivery.version + 1, updated_at = now(),
        delivered_at = CASE entry.state WHEN 'delivered' THEN CAST(:now AS timestamptz) END
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:statuses AS bigint[]), CAST(:errors AS text[]),
        CAST(:next_attempts AS timestamptz[])
    ) AS entry (id, state, status, error, next_attempt_at)
    WHERE delivery.id = entry.id AND delivery.state = 'parked'
""")
# Whoever waited behind one that is done with is the next of its subject to be tried.
PROMOTE = text("""
    UPDATE webhook_deliveries SET next_attempt_at = :now WHERE id IN (
        SELECT DISTINCT ON (type, subject) id FROM webhook_deliveries
        WHERE endpoint_id = :endpoint_id AND state = 'parked' AND subject = ANY(CAST(:subjects AS uuid[]))
        ORDER BY type, subject, seq
    ) AND next_attempt_at IS NULL
""")

WELL = text("""
    UPDATE webhook_endpoints SET failures = 0, failing_since = NULL, next_attempt_at = NULL, last_error = NULL,
        last_success_at = :now
    WHERE id = :id
""")
PAUSE = text("""
    UPDATE webhook_endpoints SET failures = failures + 1, failing_since = coalesce(failing_since, :now),
        next_attempt_at = :next_attempt_at, last_error = :error,
        state = CASE WHEN failing_since < :give_up THEN 'disabled' ELSE state END,
        disabled_reason = CASE WHEN failing_since < :give_up THEN 'unreachable' ELSE disabled_reason END
    WHERE id = :id
""")
GONE = text("""
    UPDATE webhook_endpoints SET state = 'disabled', disabled_reason = 'gone', last_error = '410' WHERE id = :id
""")
NOTE_GAP = text("UPDATE webhook_endpoints SET gap_at = :now, last_error = 'feed_gap' WHERE id = :id")

FORGET = text("""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE (created_at < :delivered_before AND state = 'delivered') OR (created_at < :dead_before AND state = 'dead')
        LIMIT 5000
    )
""")
