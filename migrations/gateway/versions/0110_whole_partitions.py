"""Months of the audit, and days of visits that hold nothing any more, go whole (G9)."""

from alembic import op

from migrations.house import run_script
from migrations.retention import purge_rows_alone, purge_whole_partitions

revision = "0110"
down_revision = "0105"
branch_labels = None
depends_on = None

# A door waits for this no longer than a fifth of a second; where that is not enough, the next purge tries again.
DROP_VISITS = """
CREATE FUNCTION gateway.drop_empty_visits(before timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'Asia/Shanghai' SET lock_timeout = '200ms' AS $$
DECLARE
    child regclass;
    is_empty boolean;
BEGIN
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
    run_script(DROP_VISITS)
    purge_whole_partitions("gateway", AFTER_VISITS)


def downgrade() -> None:
    purge_rows_alone("gateway")
    op.execute("DROP FUNCTION gateway.drop_empty_visits")
