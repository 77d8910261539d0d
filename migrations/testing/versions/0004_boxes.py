"""Boxes (T5): tubes on their way."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE testing.boxes (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    laboratory text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'packed',
    tubes bigint NOT NULL,
    picked_up_at timestamptz,
    departed_at timestamptz,
    received_at timestamptz,
    unexpected text[] COLLATE "C" NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT box_state CHECK (state IN ('packed', 'picked_up', 'in_transit', 'received')),
    CONSTRAINT box_received CHECK ((received_at IS NOT NULL) = (state = 'received')),
    CONSTRAINT box_tubes CHECK (tubes > 0)
);
CREATE INDEX boxes_region_seq_idx ON testing.boxes (region, seq);
CREATE INDEX boxes_open_idx ON testing.boxes (laboratory) WHERE state <> 'received';
COMMENT ON COLUMN testing.boxes.tubes IS 'How many were packed.';
COMMENT ON COLUMN testing.boxes.unexpected IS 'Numbers that were found in it and not packed into it.';
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("testing", "boxes", staff="SELECT, INSERT, UPDATE", machine="SELECT, UPDATE", machine_column="laboratory")


def downgrade() -> None:
    op.execute("DROP TABLE testing.boxes")
