"""Visits that are sealed: in the order of their commits, in batches, each an entry of the gateway's audit (G4, G9)."""

from alembic import op

from migrations.audit import WRITTEN
from migrations.house import run_script
from migrations.retention import DROP_EMPTY_VISITS

revision = "0130"
down_revision = "0120"
branch_labels = None
depends_on = None

COLUMNS = (
    "scan_id, at, point_id, resident_id, shown_by, region, colour, outcome, temperature_tenths, receipt_seconds, "
    "decided_at"
)

# What is there already has no place in the order: 0. Without a volatile default nothing is written anew.
PLACES = """
ALTER TABLE gateway.visits ADD COLUMN epoch integer NOT NULL DEFAULT 0, ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE gateway.visits ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX visits_epoch_xid_idx ON gateway.visits (epoch, xid);
"""

# A default, so that the door need not ask; set by whoever begins an epoch, before any service may write in it.
EPOCH = """
CREATE FUNCTION gateway.begin_epoch_of_visits() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_is integer := (SELECT max(epoch) FROM gateway.feed_epochs);
BEGIN
    IF now_is::text IS DISTINCT FROM (
        SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        WHERE adrelid = 'gateway.visits'::regclass AND attname = 'epoch'
    ) THEN
        EXECUTE format('ALTER TABLE gateway.visits ALTER COLUMN epoch SET DEFAULT %s', now_is);
    END IF;
END $$;
REVOKE ALL ON FUNCTION gateway.begin_epoch_of_visits FROM PUBLIC;
"""

SEALS = """
CREATE TABLE gateway.visit_seals (
    number bigint PRIMARY KEY,
    after_epoch integer NOT NULL,
    after_xid xid8 NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    last_at timestamptz NOT NULL,
    leaves bytea NOT NULL
);
ALTER TABLE gateway.visit_seals ALTER COLUMN leaves SET STORAGE EXTERNAL;
COMMENT ON TABLE gateway.visit_seals
    IS 'What each sealed batch of visits consists of, for as long as any of them is kept; its seal is in the audit.';
COMMENT ON COLUMN gateway.visit_seals.leaves IS 'Of each visit in order 32 bytes of hash and 8 of its time.';
CREATE TABLE gateway.visits_sealed (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    number bigint NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL
);
COMMENT ON TABLE gateway.visits_sealed
    IS 'How far the sealer of visits has come: every visit up to there is in a batch.';
"""

RIGHTS = f"""
REVOKE INSERT ON gateway.visits FROM fangxian_gateway_door;
GRANT INSERT ({COLUMNS}) ON gateway.visits TO fangxian_gateway_door;
GRANT SELECT ON gateway.visits TO fangxian_gateway_sealer;
CREATE POLICY sealed ON gateway.visits FOR SELECT TO fangxian_gateway_sealer USING (true);
GRANT SELECT, INSERT ON gateway.visit_seals TO fangxian_gateway_sealer;
GRANT SELECT, INSERT, UPDATE ON gateway.visits_sealed TO fangxian_gateway_sealer;
GRANT INSERT ({WRITTEN}) ON gateway.audit TO fangxian_gateway_sealer;
"""

# A batch is kept whole until the last of its visits is gone: those that a hold keeps can still be checked.
SEALS_GO = """
    DELETE FROM gateway.visit_seals WHERE number IN (
        SELECT number FROM gateway.visit_seals AS seal
        WHERE last_at < before AND NOT EXISTS (
            SELECT FROM gateway.visits
            WHERE (epoch, xid) > (seal.after_epoch, seal.after_xid) AND (epoch, xid) <= (seal.epoch, seal.xid)
        )
        ORDER BY number LIMIT 10000
    );
"""


def upgrade() -> None:
    run_script(PLACES)
    run_script(EPOCH)
    run_script(SEALS)
    run_script(RIGHTS)
    run_script(DROP_EMPTY_VISITS.format(first=SEALS_GO))


def downgrade() -> None:
    run_script(DROP_EMPTY_VISITS.format(first=""))
    op.execute(f"REVOKE INSERT ({WRITTEN}) ON gateway.audit FROM fangxian_gateway_sealer")
    op.execute("DROP TABLE gateway.visits_sealed")
    op.execute("DROP TABLE gateway.visit_seals")
    op.execute("DROP FUNCTION gateway.begin_epoch_of_visits")
    op.execute("DROP POLICY sealed ON gateway.visits")
    op.execute("REVOKE SELECT ON gateway.visits FROM fangxian_gateway_sealer")
    op.execute(f"REVOKE INSERT ({COLUMNS}) ON gateway.visits FROM fangxian_gateway_door")
    op.execute("GRANT INSERT ON gateway.visits TO fangxian_gateway_door")
    op.execute("ALTER TABLE gateway.visits DROP COLUMN epoch, DROP COLUMN xid")
