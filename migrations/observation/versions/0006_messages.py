"""What the 120 desk and hospitals told of referrals (O4)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE observation.messages (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    party text NOT NULL,
    message_id text NOT NULL,
    kind text NOT NULL,
    referral_id uuid,
    hospital text,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_state CHECK (state IN ('applied', 'rejected')),
    CONSTRAINT message_reason CHECK ((state = 'rejected') = (reason IS NOT NULL))
);
CREATE INDEX messages_region_seq_idx ON observation.messages (region, seq);
CREATE INDEX messages_referral_id_idx ON observation.messages (referral_id) WHERE referral_id IS NOT NULL;
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("observation", "messages", staff="SELECT", machine="SELECT")


def downgrade() -> None:
    op.execute("DROP TABLE observation.messages")
