"""Tubes (T4): rolls of numbers, tubes, samples, and records that could not be kept."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE testing.tube_serials (
    "only" boolean PRIMARY KEY DEFAULT true,
    following bigint NOT NULL,
    CONSTRAINT tube_serials_one CHECK ("only")
);

CREATE TABLE testing.rolls (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    campaign_id uuid NOT NULL REFERENCES testing.campaigns (id),
    capacity bigint NOT NULL,
    first bigint NOT NULL UNIQUE,
    last bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roll_capacity CHECK (capacity IN (1, 5, 10, 20)),
    CONSTRAINT roll_range CHECK (first <= last)
);
CREATE INDEX rolls_region_seq_idx ON testing.rolls (region, seq);
CREATE INDEX rolls_campaign_id_idx ON testing.rolls (campaign_id);

CREATE TABLE testing.tubes (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    campaign_id uuid NOT NULL REFERENCES testing.campaigns (id),
    number text COLLATE "C" NOT NULL CONSTRAINT tube_number_taken UNIQUE,
    capacity bigint NOT NULL,
    drill boolean NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'open',
    people bigint NOT NULL DEFAULT 0,
    answers uuid[] NOT NULL DEFAULT '{}',
    first_sampled_at timestamptz,
    manifest uuid[],
    missing bigint NOT NULL DEFAULT 0,
    sealed_at timestamptz,
    received_at timestamptz,
    late boolean NOT NULL DEFAULT false,
    laboratory text COLLATE "C",
    box_id uuid REFERENCES testing.boxes (id),
    outcome text COLLATE "C",
    revision bigint,
    tested_at timestamptz,
    reported_at timestamptz,
    held boolean NOT NULL DEFAULT false,
    discarded_at timestamptz,
    discard_reason text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tube_capacity CHECK (capacity IN (1, 5, 10, 20)),
    CONSTRAINT tube_full CHECK (people BETWEEN 0 AND capacity),
    CONSTRAINT tube_state CHECK (
        state IN ('open', 'sealed', 'in_transit', 'received', 'resulted', 'discarded')
    ),
    CONSTRAINT tube_manifest CHECK (
        (manifest IS NULL) = (sealed_at IS NULL) AND (manifest IS NOT NULL OR state IN ('open', 'discarded'))
        AND (manifest IS NULL OR state <> 'open')
    ),
    CONSTRAINT tube_missing CHECK (missing BETWEEN 0 AND coalesce(cardinality(manifest), 0)),
    CONSTRAINT tube_received CHECK (received_at IS NOT NULL OR state NOT IN ('received', 'resulted')),
    CONSTRAINT tube_laboratory CHECK (received_at IS NULL OR laboratory IS NOT NULL),
    CONSTRAINT tube_result CHECK (
        num_nulls(outcome, revision, tested_at, reported_at) IN (0, 4)
        AND (outcome IS NOT NULL OR state <> 'resulted')
        AND (outcome IS NULL OR state IN ('resulted', 'discarded'))
    ),
    CONSTRAINT tube_outcome CHECK (outcome IN ('negative', 'positive', 'inconclusive', 'invalid')),
    CONSTRAINT tube_held CHECK (held = (outcome IS NOT NULL AND missing > 0)),
    CONSTRAINT tube_discarded CHECK ((discarded_at IS NULL) = (state <> 'discarded')),
    CONSTRAINT tube_answers CHECK (answers = '{}' OR capacity = 1)
) WITH (fillfactor = 45);
CREATE INDEX tubes_region_seq_idx ON testing.tubes (region, seq);
CREATE INDEX tubes_campaign_id_idx ON testing.tubes (campaign_id);
CREATE INDEX tubes_box_id_idx ON testing.tubes (box_id);
-- With the id, by which a laboratory reports: it is the best whatever the planner knows, which is nothing of tubes that
-- were all sent since it last looked.
CREATE INDEX tubes_laboratory_idx ON testing.tubes (laboratory, id) WHERE laboratory IS NOT NULL;
COMMENT ON COLUMN testing.tubes.people IS 'Members without an exception.';
COMMENT ON COLUMN testing.tubes.missing IS 'Listed in the manifest and not here yet.';

CREATE TABLE testing.samples (
    id uuid PRIMARY KEY,
    campaign_id uuid NOT NULL,
    tube_id uuid NOT NULL REFERENCES testing.tubes (id),
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    home text COLLATE "C",
    sampled_at timestamptz NOT NULL,
    exception text COLLATE "C",
    offline boolean NOT NULL,
    retest boolean NOT NULL,
    counted boolean NOT NULL,
    moved_from uuid,
    moved_reason text COLLATE "C",
    undone_at timestamptz,
    undone_reason text COLLATE "C",
    kept_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sample_exception CHECK (
        exception IN ('over_capacity', 'twice_in_round', 'single_only', 'after_close', 'stale_code')
    ),
    CONSTRAINT sample_counted CHECK (NOT counted OR (exception IS NULL AND undone_at IS NULL AND NOT retest)),
    CONSTRAINT sample_undone CHECK ((undone_at IS NULL) = (undone_reason IS NULL))
);
CREATE INDEX samples_tube_id_idx ON testing.samples (tube_id);
CREATE INDEX samples_resident_id_idx ON testing.samples (resident_id);
CREATE UNIQUE INDEX twice_in_round ON testing.samples (campaign_id, resident_id) INCLUDE (home, region) WHERE counted;
CREATE INDEX samples_exceptions_idx ON testing.samples (campaign_id, resident_id) WHERE exception IS NOT NULL;
COMMENT ON COLUMN testing.samples.id IS 'Made by the device.';
COMMENT ON COLUMN testing.samples.retest IS 'Answers the pools of its tube, not the round.';
COMMENT ON COLUMN testing.samples.counted IS 'Takes the person''s one place in the round.';
COMMENT ON COLUMN testing.samples.moved_from IS 'The tube it was recorded in first.';

CREATE TABLE testing.refused_samples (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    sample_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    tube_number text COLLATE "C" NOT NULL,
    resident_id uuid,
    sampled_at timestamptz NOT NULL,
    reason text COLLATE "C" NOT NULL,
    resolved_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (sample_id, reason)
);
CREATE INDEX refused_samples_region_seq_idx ON testing.refused_samples (region, seq);
COMMENT ON COLUMN testing.refused_samples.resident_id IS 'Null if the code that was scanned names nobody for sure.';
COMMENT ON COLUMN testing.refused_samples.reason IS 'The code of the problem.';
COMMENT ON COLUMN testing.refused_samples.resolved_at IS 'When the same record was kept after all.';
"""

# The last line behind "a sealed tube never changes": what the seal says, and who the tube is, stay as they were.
SEALED_FOR_GOOD = """
CREATE FUNCTION testing.refuse_change_of_seal() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'a sealed tube never changes'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'tube_sealed', TABLE = 'tubes', SCHEMA = 'testing';
END $$;
CREATE TRIGGER sealed_for_good BEFORE UPDATE ON testing.tubes FOR EACH ROW
    WHEN (OLD.manifest IS NOT NULL
        AND (OLD.manifest, OLD.sealed_at, OLD.number, OLD.capacity, OLD.campaign_id, OLD.region)
        IS DISTINCT FROM (NEW.manifest, NEW.sealed_at, NEW.number, NEW.capacity, NEW.campaign_id, NEW.region))
    EXECUTE FUNCTION testing.refuse_change_of_seal();
"""


def upgrade() -> None:
    run_script(TABLES)
    run_script(SEALED_FOR_GOOD)
    allow("testing", "tube_serials", "SELECT, INSERT, UPDATE", "staff", "system")
    protect("testing", "rolls", staff="SELECT, INSERT")
    protect("testing", "tubes", staff="SELECT, UPDATE", machine="SELECT, UPDATE", machine_column="laboratory")
    protect("testing", "samples", staff="SELECT, UPDATE", resident="SELECT")
    protect("testing", "refused_samples", staff="SELECT")


def downgrade() -> None:
    for table in ("refused_samples", "samples", "tubes", "rolls", "tube_serials"):
        op.execute(f"DROP TABLE testing.{table}")
    op.execute("DROP FUNCTION testing.refuse_change_of_seal")
