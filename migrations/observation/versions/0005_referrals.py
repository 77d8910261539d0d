"""Referrals by 120 (O4), and the fevers that were reported."""

from alembic import op

from migrations.house import run_script
from migrations.roles import PARTY, protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE observation.referrals (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL,
    reason text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    evidence_type text,
    evidence_id uuid,
    protocol bigint NOT NULL,
    reporter text NOT NULL,
    desk text NOT NULL,
    hospital text,
    reported_at timestamptz NOT NULL,
    since timestamptz NOT NULL,
    dispatched_at timestamptz,
    on_board_at timestamptz,
    handed_over_at timestamptz,
    closed_at timestamptz,
    due_at timestamptz,
    overdue_at timestamptz,
    cancelled_at timestamptz,
    cancel_reason text,
    reveals timestamptz[] NOT NULL DEFAULT '{}',
    withdrawn boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT referral_reason CHECK (reason IN ('fever', 'positive')),
    CONSTRAINT referral_state CHECK (state IN (
        'reported', 'dispatched', 'on_board', 'handed_over', 'ruled_out', 'admitted', 'confirmed', 'cancelled', 'left'
    )),
    CONSTRAINT referral_closed
        CHECK ((closed_at IS NOT NULL) = (state IN ('ruled_out', 'admitted', 'confirmed', 'cancelled'))),
    CONSTRAINT referral_evidence_type CHECK ((evidence_id IS NULL) = (evidence_type IS NULL)),
    CONSTRAINT referral_evidence CHECK (reason <> 'positive' OR evidence_id IS NOT NULL),
    CONSTRAINT referral_cancel_reason CHECK ((cancelled_at IS NULL) = (cancel_reason IS NULL))
);
CREATE INDEX referrals_region_seq_idx ON observation.referrals (region, seq);
CREATE INDEX referrals_resident_id_idx ON observation.referrals (resident_id);
CREATE INDEX referrals_evidence_id_idx ON observation.referrals (evidence_id);
CREATE UNIQUE INDEX referral_open ON observation.referrals (resident_id) WHERE closed_at IS NULL;
CREATE INDEX referrals_due_at_idx ON observation.referrals (due_at) WHERE closed_at IS NULL AND overdue_at IS NULL;
CREATE INDEX referrals_hospital_idx ON observation.referrals (hospital) WHERE hospital IS NOT NULL;
COMMENT ON COLUMN observation.referrals.reporter
    IS 'The machine or service point that reported it; empty for staff and our own worker.';
COMMENT ON COLUMN observation.referrals.desk IS 'The 120 desk it is handed to.';
COMMENT ON COLUMN observation.referrals.hospital IS 'Once a message names it.';
COMMENT ON COLUMN observation.referrals.since IS 'When it entered its present state.';
COMMENT ON COLUMN observation.referrals.due_at IS 'When the next stage must have been reached.';
COMMENT ON COLUMN observation.referrals.overdue_at IS 'Since when the alarm is on.';
COMMENT ON COLUMN observation.referrals.reveals IS 'When the person was shown in clear within the last hour.';
COMMENT ON COLUMN observation.referrals.withdrawn IS 'Cancelled because its evidence was taken back.';

CREATE TABLE observation.fevers (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    referral_id uuid NOT NULL CONSTRAINT fevers_referral_id_fkey REFERENCES observation.referrals (id),
    resident_id uuid NOT NULL,
    party text NOT NULL,
    role text NOT NULL,
    celsius numeric(3, 1) NOT NULL,
    symptoms text[] NOT NULL,
    measured_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fever_celsius CHECK (celsius BETWEEN 30 AND 45)
);
CREATE INDEX fevers_region_seq_idx ON observation.fevers (region, seq);
CREATE INDEX fevers_referral_id_idx ON observation.fevers (referral_id);
CREATE INDEX fevers_resident_id_idx ON observation.fevers (resident_id);
COMMENT ON COLUMN observation.fevers.party IS 'The machine or service point that read it; empty for people.';
"""

# Who reports a fever is answered with the episode the person is in, also where it was reported elsewhere: the one
# thing that must be seen outside one's scope. Nobody without a fever to report calls it.
OPEN_REFERRAL_OF = """
CREATE FUNCTION observation.open_referral_of(resident uuid) RETURNS SETOF observation.referrals
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM observation.referrals WHERE resident_id = resident AND closed_at IS NULL FOR UPDATE
$$;
REVOKE ALL ON FUNCTION observation.open_referral_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION observation.open_referral_of
    TO fangxian_observation_staff, fangxian_observation_machine, fangxian_observation_door;
"""

EPISODE = """
CREATE POLICY episode ON observation.fevers FOR SELECT TO fangxian_observation_machine
    USING (referral_id IN (SELECT id FROM observation.referrals))
"""

MACHINE = "fangxian_observation_machine"


def upgrade() -> None:
    run_script(TABLES)
    run_script(OPEN_REFERRAL_OF)
    protect(
        "observation",
        "referrals",
        staff="SELECT, INSERT, UPDATE",
        resident="SELECT",
        door="INSERT",
        machine="SELECT, INSERT",
        machine_column="desk",
    )
    # A hospital sees those it reported and those it was named in; it can write none but its own report.
    op.execute(f"CREATE POLICY reporter ON observation.referrals TO {MACHINE} USING (reporter = {PARTY})")
    op.execute(f"CREATE POLICY hospital ON observation.referrals FOR SELECT TO {MACHINE} USING (hospital = {PARTY})")
    protect(
        "observation",
        "fevers",
        staff="SELECT, INSERT",
        resident="SELECT",
        door="INSERT",
        machine="SELECT, INSERT",
    )
    op.execute(EPISODE)


def downgrade() -> None:
    op.execute("DROP FUNCTION observation.open_referral_of")
    op.execute("DROP TABLE observation.fevers")
    op.execute("DROP TABLE observation.referrals")
