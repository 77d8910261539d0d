"""Who may act as what, where and until when (G1)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE gateway.grants (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL CONSTRAINT grants_account_id_fkey REFERENCES gateway.accounts (id),
    role text COLLATE "C" NOT NULL,
    party text NOT NULL DEFAULT '',
    valid_from timestamptz NOT NULL,
    valid_until timestamptz,
    why text NOT NULL,
    state text COLLATE "C" NOT NULL,
    given_by text NOT NULL,
    decided_by text,
    ended_by text,
    ended_why text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT grant_state CHECK (state IN ('proposed', 'active', 'refused', 'ended')),
    CONSTRAINT grant_order CHECK (valid_until IS NULL OR valid_from < valid_until),
    CONSTRAINT grant_two_people CHECK (decided_by IS DISTINCT FROM given_by)
);
CREATE INDEX grants_region_seq_idx ON gateway.grants (region, seq);
CREATE INDEX grants_account_id_idx ON gateway.grants (account_id);
CREATE UNIQUE INDEX grant_exists ON gateway.grants (account_id, role, region, party)
    WHERE state IN ('proposed', 'active');
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("gateway", "grants", staff="SELECT, INSERT, UPDATE")


def downgrade() -> None:
    op.execute("DROP TABLE gateway.grants")
