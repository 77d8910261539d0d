"""Retention (G9)."""

from alembic import op

from migrations.house import run_script
from migrations.retention import Kept, create_retention, drop_retention

revision = "0030"
down_revision = "0021"
branch_labels = None
depends_on = None

KINDS = {
    "visits": Kept(
        28,
        "local decision: two incubation periods of 14 days; where somebody was is kept no longer",
        """
            DELETE FROM visits WHERE (at, scan_id) IN (
                SELECT at, scan_id FROM visits WHERE at < before AND NOT is_held(resident_id) LIMIT most
            )
        """,
    ),
    "code_changes": Kept(
        365,
        "local decision: a year, for an appeal",
        """
            DELETE FROM code_changes WHERE number IN (
                SELECT number FROM code_changes WHERE at < before AND NOT is_held(resident_id)
                ORDER BY number LIMIT most
            )
        """,
    ),
    "messages": Kept(
        180,
        "local decision: as long as a sender may ask what became of one",
        """
            DELETE FROM messages WHERE id IN (
                SELECT id FROM messages WHERE received_at < before ORDER BY seq LIMIT most
            )
        """,
    ),
}

# A door waits for this no longer than a fifth of a second; where that is not enough, the next purge tries again.
# A sealed batch is kept whole until the last of its visits is gone: those that a hold keeps can still be checked.
DROP_EMPTY_VISITS = """
CREATE FUNCTION gateway.drop_empty_visits(before timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'Asia/Shanghai' SET lock_timeout = '200ms' AS $$
DECLARE
    child regclass;
    is_empty boolean;
BEGIN
    DELETE FROM gateway.visit_seals WHERE number IN (
        SELECT number FROM gateway.visit_seals AS seal
        WHERE last_at < before AND NOT EXISTS (
            SELECT FROM gateway.visits
            WHERE (epoch, xid) > (seal.after_epoch, seal.after_xid) AND (epoch, xid) <= (seal.epoch, seal.xid)
        )
        ORDER BY number LIMIT 10000
    );
    FOR child IN
        SELECT one.oid FROM pg_class AS one JOIN pg_inherits ON inhrelid = one.oid
        WHERE inhparent = 'gateway.visits'::regclass AND one.relname ~ '^visits_[0-9]{8}$'
          AND to_date(right(one.relname, 8), 'YYYYMMDD') < before::date
        ORDER BY one.relname
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', child) INTO is_empty;
        IF is_empty THEN
            EXECUTE format('DROP TABLE %s', child);
        END IF;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $$;
REVOKE ALL ON FUNCTION gateway.drop_empty_visits FROM PUBLIC;
"""

AFTER_VISITS = """
    IF asked = 'visits' AND removed < most THEN
        PERFORM drop_empty_visits(before);
    END IF;
"""


def upgrade() -> None:
    create_retention("gateway", KINDS, AFTER_VISITS)
    run_script(DROP_EMPTY_VISITS)


def downgrade() -> None:
    op.execute("DROP FUNCTION gateway.drop_empty_visits")
    drop_retention("gateway", KINDS)
