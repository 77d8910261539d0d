"""Retests (T6): people called to a tube of their own."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE testing.retests (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL,
    pool_id uuid NOT NULL REFERENCES testing.tubes (id),
    state text COLLATE "C" NOT NULL,
    called_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    tube_id uuid REFERENCES testing.tubes (id),
    outcome text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (pool_id, resident_id),
    CONSTRAINT retest_state CHECK (state IN ('called', 'sampled', 'settled', 'withdrawn')),
    CONSTRAINT retest_outcome CHECK (outcome IN ('negative', 'positive')),
    CONSTRAINT retest_settled CHECK ((outcome IS NOT NULL) = (state = 'settled')),
    CONSTRAINT retest_sampled CHECK (tube_id IS NOT NULL OR state IN ('called', 'withdrawn')),
    CONSTRAINT retest_called CHECK (tube_id IS NULL OR state <> 'called')
);
CREATE INDEX retests_region_seq_idx ON testing.retests (region, seq);
CREATE INDEX retests_resident_id_idx ON testing.retests (resident_id);
CREATE INDEX retests_tube_id_idx ON testing.retests (tube_id);
CREATE INDEX retests_open_idx ON testing.retests (due_at) WHERE state IN ('called', 'sampled');
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("testing", "retests", staff="SELECT", resident="SELECT")


def downgrade() -> None:
    op.execute("DROP TABLE testing.retests")
