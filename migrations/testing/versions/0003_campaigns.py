"""Campaigns (T3), and the people expected in them."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE testing.campaigns (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    name text NOT NULL,
    round bigint NOT NULL,
    pool_size bigint NOT NULL,
    opens_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL,
    drill boolean NOT NULL,
    expected bigint NOT NULL,
    opened_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT campaign_pool_size CHECK (pool_size IN (1, 5, 10, 20)),
    CONSTRAINT campaign_round CHECK (round BETWEEN 1 AND 1000),
    CONSTRAINT campaign_window CHECK (opens_at < closes_at),
    CONSTRAINT campaign_state CHECK (state IN ('planned', 'open', 'closed', 'cancelled')),
    CONSTRAINT campaign_ended CHECK ((ended_at IS NOT NULL) = (state IN ('closed', 'cancelled'))),
    CONSTRAINT campaign_opened CHECK (opened_at IS NOT NULL OR state IN ('planned', 'cancelled'))
);
CREATE INDEX campaigns_region_seq_idx ON testing.campaigns (region, seq);
COMMENT ON COLUMN testing.campaigns.ended_at IS 'When it was closed or cancelled.';

CREATE TABLE testing.campaign_people (
    campaign_id uuid NOT NULL REFERENCES testing.campaigns (id),
    resident_id uuid NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    region text COLLATE "C" NOT NULL,
    PRIMARY KEY (campaign_id, resident_id)
);
CREATE INDEX campaign_people_campaign_id_region_seq_idx ON testing.campaign_people (campaign_id, region, seq);
"""


def upgrade() -> None:
    run_script(TABLES)
    # A round is no person's: everybody may read it, staff change those of their scope.
    protect("testing", "campaigns", staff="SELECT, INSERT, UPDATE")
    for role in ("staff", "resident", "machine", "door"):
        allow("testing", "campaigns", "SELECT", role)
        op.execute(
            f"CREATE POLICY {role}_reads ON testing.campaigns FOR SELECT TO fangxian_testing_{role} USING (true)"
        )
    protect("testing", "campaign_people", staff="SELECT, INSERT")
    # A round's people come all at once, and the planner must not take the table for empty until somebody looks.
    allow("testing", "campaign_people", "MAINTAIN", "system")


def downgrade() -> None:
    op.execute("DROP TABLE testing.campaign_people")
    op.execute("DROP TABLE testing.campaigns")
