"""Who may post to us, and what they posted (G7, O4)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0010"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE gateway.hook_sources (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    party text NOT NULL,
    secrets_sealed bytea,
    last_message_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT hook_source_taken UNIQUE (source, party),
    CONSTRAINT hook_source_kind CHECK (source IN ('desk_120', 'hospital', 'municipal'))
);
CREATE INDEX hook_sources_region_seq_idx ON gateway.hook_sources (region, seq);

CREATE TABLE gateway.messages (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    party text NOT NULL,
    message_id text NOT NULL,
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    data jsonb NOT NULL,
    rest_sealed bytea,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_id_reused UNIQUE (source, party, message_id)
);
CREATE INDEX messages_region_seq_idx ON gateway.messages (region, seq);
COMMENT ON COLUMN gateway.messages.data IS 'What travels: known texts and small numbers.';
COMMENT ON COLUMN gateway.messages.rest_sealed IS 'All other fields of its data, which may name people.';
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("gateway", "hook_sources", staff="SELECT, INSERT, UPDATE, DELETE")
    protect("gateway", "messages", staff="SELECT", machine="SELECT")


def downgrade() -> None:
    op.execute("DROP TABLE gateway.messages")
    op.execute("DROP TABLE gateway.hook_sources")
