"""Where events are sent, how far each endpoint has read, and what was sent (G7)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import IN_RANGE, allow, protect

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE gateway.installation (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO gateway.installation DEFAULT VALUES;
COMMENT ON TABLE gateway.installation
    IS 'The id by which events name this installation where it has no public address.';

CREATE TABLE gateway.webhook_endpoints (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    url text NOT NULL,
    types text[] NOT NULL,
    party text NOT NULL,
    owner text NOT NULL,
    secrets_sealed bytea,
    state text COLLATE "C" NOT NULL,
    disabled_reason text COLLATE "C",
    failures bigint NOT NULL,
    failing_since timestamptz,
    next_attempt_at timestamptz,
    last_success_at timestamptz,
    last_error text,
    gap_at timestamptz,
    lease uuid,
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_state CHECK (state IN ('enabled', 'disabled')),
    CONSTRAINT webhook_disabled_reason CHECK ((disabled_reason IS NOT NULL) = (state = 'disabled'))
);
COMMENT ON COLUMN gateway.webhook_endpoints.owner
    IS 'Who made or enabled it last, and must be able to see what it is told.';
CREATE INDEX webhook_endpoints_region_seq_idx ON gateway.webhook_endpoints (region, seq);

CREATE TABLE gateway.webhook_cursors (
    endpoint_id uuid NOT NULL CONSTRAINT webhook_cursors_endpoint_id_fkey
        REFERENCES gateway.webhook_endpoints (id) ON DELETE CASCADE,
    owner text NOT NULL,
    lane text NOT NULL,
    cursor text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (endpoint_id, owner, lane)
);

CREATE TABLE gateway.webhook_deliveries (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    endpoint_id uuid NOT NULL CONSTRAINT webhook_deliveries_endpoint_id_fkey
        REFERENCES gateway.webhook_endpoints (id) ON DELETE CASCADE,
    party text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    subject uuid NOT NULL,
    event_version bigint NOT NULL,
    body text NOT NULL,
    state text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    last_status bigint,
    last_error text,
    next_attempt_at timestamptz,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_delivery_twice UNIQUE (endpoint_id, event_id),
    CONSTRAINT webhook_delivery_state CHECK (state IN ('delivered', 'parked', 'dead'))
);
CREATE INDEX webhook_deliveries_region_seq_idx ON gateway.webhook_deliveries (region, seq);
CREATE INDEX webhook_deliveries_list_idx ON gateway.webhook_deliveries (endpoint_id, region, seq);
CREATE INDEX webhook_deliveries_parked_idx ON gateway.webhook_deliveries (endpoint_id, subject, next_attempt_at)
    WHERE state = 'parked';
CREATE INDEX webhook_deliveries_created_at_idx ON gateway.webhook_deliveries (created_at);
"""


def upgrade() -> None:
    run_script(TABLES)
    protect(
        "gateway",
        "webhook_endpoints",
        staff="SELECT, INSERT, UPDATE, DELETE",
        machine="SELECT, INSERT, UPDATE, DELETE",
    )
    protect("gateway", "webhook_deliveries", staff="SELECT, UPDATE", machine="SELECT, UPDATE")
    # A machine's party may hold nothing outside its range either: the policy of parties alone would let it.
    op.execute(
        "CREATE POLICY machine_range ON gateway.webhook_endpoints AS RESTRICTIVE "
        f"TO fangxian_gateway_machine USING ({IN_RANGE})"
    )
    # A new endpoint begins where the gateway itself has come to. Cursors hold nobody's data.
    allow("gateway", "installation", "SELECT", "system")
    allow("gateway", "webhook_cursors", "SELECT, INSERT, UPDATE, DELETE", "system")
    allow("gateway", "webhook_cursors", "INSERT", "staff", "machine")
    allow("gateway", "feed_cursors", "SELECT", "staff", "machine")


def downgrade() -> None:
    op.execute("REVOKE SELECT ON gateway.feed_cursors FROM fangxian_gateway_staff, fangxian_gateway_machine")
    for table in ("webhook_deliveries", "webhook_cursors", "webhook_endpoints", "installation"):
        op.execute(f"DROP TABLE gateway.{table}")
