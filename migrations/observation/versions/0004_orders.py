"""Observation orders (O1)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE observation.orders (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    protocol bigint NOT NULL,
    evidence_type text NOT NULL,
    evidence_id uuid NOT NULL,
    day_0 date NOT NULL,
    exposures uuid[] NOT NULL,
    opened_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text,
    kind_set text COLLATE "C",
    kind_reason text,
    extra_days bigint NOT NULL DEFAULT 0,
    extra_reason text,
    negatives date[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT order_kind CHECK (kind IN ('central', 'home', 'monitoring')),
    CONSTRAINT order_state CHECK (state IN ('open', 'ended', 'withdrawn')),
    CONSTRAINT order_ended_at CHECK ((state = 'open') = (ended_at IS NULL)),
    CONSTRAINT order_end_reason CHECK ((state = 'open') = (end_reason IS NULL)),
    CONSTRAINT order_extra_days CHECK (extra_days BETWEEN 0 AND 60)
);
CREATE INDEX orders_region_seq_idx ON observation.orders (region, seq);
CREATE INDEX orders_resident_id_idx ON observation.orders (resident_id);
CREATE INDEX orders_evidence_id_idx ON observation.orders (evidence_id);
CREATE UNIQUE INDEX order_open ON observation.orders (resident_id) WHERE state = 'open';
COMMENT ON COLUMN observation.orders.exposures IS 'Tubes of all positives of the household where the evidence was.';
COMMENT ON COLUMN observation.orders.kind_set IS 'By people; else the kind follows from tags.';
COMMENT ON COLUMN observation.orders.negatives IS 'Days of the person''s own negative single tubes since day 0.';
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("observation", "orders", staff="SELECT, UPDATE", resident="SELECT")


def downgrade() -> None:
    op.execute("DROP TABLE observation.orders")
