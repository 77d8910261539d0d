"""Service points, and the visits of those who showed their code there (G4)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE gateway.points (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    name text NOT NULL,
    passes text[] NOT NULL,
    registers text[] NOT NULL,
    negative_within interval,
    without_negative text COLLATE "C" NOT NULL,
    fever_tenths smallint NOT NULL,
    with_fever text COLLATE "C" NOT NULL,
    unknown_person text COLLATE "C" NOT NULL,
    medical boolean NOT NULL,
    outcomes bytea NOT NULL,
    receipt_seconds integer NOT NULL,
    slug text COLLATE "C",
    upstream_url text,
    closed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT point_outcomes CHECK (octet_length(outcomes) = 16),
    CONSTRAINT point_receipt CHECK (receipt_seconds BETWEEN 1 AND 43200),
    CONSTRAINT point_protects CHECK ((slug IS NULL) = (upstream_url IS NULL))
);
CREATE INDEX points_region_seq_idx ON gateway.points (region, seq);
CREATE UNIQUE INDEX slug_taken ON gateway.points (slug) WHERE closed_at IS NULL;

CREATE TABLE gateway.visits (
    scan_id uuid NOT NULL,
    at timestamptz NOT NULL,
    point_id uuid NOT NULL,
    resident_id uuid NOT NULL,
    shown_by uuid,
    region text COLLATE "C" NOT NULL,
    colour smallint NOT NULL,
    outcome smallint NOT NULL,
    temperature_tenths smallint,
    receipt_seconds integer NOT NULL,
    decided_at timestamptz NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (at, scan_id)
) PARTITION BY RANGE (at);
CREATE INDEX visits_resident_id_at_idx ON gateway.visits (resident_id, at);
CREATE INDEX visits_region_at_idx ON gateway.visits (region, at);
CREATE INDEX visits_epoch_xid_idx ON gateway.visits (epoch, xid);
"""

# A default, so that the door need not ask; set by whoever begins an epoch, before any service may write in it.
BEGIN_EPOCH = """
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

# The place of a visit in the order of commits is the database's: it is not among what the door writes.
WRITTEN = (
    "scan_id, at, point_id, resident_id, shown_by, region, colour, outcome, temperature_tenths, receipt_seconds, "
    "decided_at"
)
DOOR = f"""
GRANT SELECT (resident_id, colour, until, colour_after, green_from, last_negative) ON gateway.codes
    TO fangxian_gateway_door;
CREATE POLICY door ON gateway.codes FOR SELECT TO fangxian_gateway_door USING (true);
GRANT SELECT (id, region, outcomes, negative_within, fever_tenths, receipt_seconds, closed_at) ON gateway.points
    TO fangxian_gateway_door;
CREATE POLICY door ON gateway.points FOR SELECT TO fangxian_gateway_door USING (true);
GRANT INSERT ({WRITTEN}) ON gateway.visits TO fangxian_gateway_door;
GRANT SELECT (scan_id, at, point_id, resident_id, colour, outcome, receipt_seconds, decided_at) ON gateway.visits
    TO fangxian_gateway_door;
CREATE POLICY door ON gateway.visits FOR SELECT TO fangxian_gateway_door USING (true);
CREATE POLICY door_writes ON gateway.visits FOR INSERT TO fangxian_gateway_door WITH CHECK (true);
"""
"""Anybody may come to any door, so it is columns, not rows, that bound what a door can read.

One statement answers the scans of many points, so it has no region of its own; a visit's is copied from its point.
"""

RESIDENT = """
GRANT SELECT (id, name) ON gateway.points TO fangxian_gateway_resident;
CREATE POLICY resident ON gateway.points FOR SELECT TO fangxian_gateway_resident USING (true);
"""
"""What a place is called is no secret from those who were there."""


def upgrade() -> None:
    run_script(TABLES)
    run_script(BEGIN_EPOCH)
    protect("gateway", "points", staff="SELECT, INSERT, UPDATE")
    protect("gateway", "visits", staff="SELECT", resident="SELECT", system="SELECT, DELETE")
    run_script(DOOR)
    run_script(RESIDENT)


def downgrade() -> None:
    op.execute("DROP POLICY door ON gateway.codes")
    op.execute(
        "REVOKE SELECT (resident_id, colour, until, colour_after, green_from, last_negative) "
        "ON gateway.codes FROM fangxian_gateway_door"
    )
    op.execute("DROP FUNCTION gateway.begin_epoch_of_visits")
    op.execute("DROP TABLE gateway.visits")
    op.execute("DROP TABLE gateway.points")
