"""Visits that are sealed: in the order of their commits, in batches, each an entry of the gateway's audit (G4, G9)."""

from alembic import op

from migrations.audit import WRITTEN
from migrations.house import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SEALS = """
CREATE TABLE gateway.visit_seals (
    number bigint PRIMARY KEY,
    after_epoch integer NOT NULL,
    after_xid xid8 NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    last_at timestamptz NOT NULL,
    leaves bytea NOT NULL
);
ALTER TABLE gateway.visit_seals ALTER COLUMN leaves SET STORAGE EXTERNAL;
COMMENT ON TABLE gateway.visit_seals
    IS 'What each sealed batch of visits consists of, for as long as any of them is kept; its seal is in the audit.';
COMMENT ON COLUMN gateway.visit_seals.leaves IS 'Of each visit in order 32 bytes of hash and 8 of its time.';
CREATE TABLE gateway.visits_sealed (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    number bigint NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL
);
COMMENT ON TABLE gateway.visits_sealed
    IS 'How far the sealer of visits has come: every visit up to there is in a batch.';
"""

RIGHTS = f"""
GRANT SELECT ON gateway.visits TO fangxian_gateway_sealer;
CREATE POLICY sealed ON gateway.visits FOR SELECT TO fangxian_gateway_sealer USING (true);
GRANT SELECT, INSERT ON gateway.visit_seals TO fangxian_gateway_sealer;
GRANT SELECT, INSERT, UPDATE ON gateway.visits_sealed TO fangxian_gateway_sealer;
GRANT INSERT ({WRITTEN}) ON gateway.audit TO fangxian_gateway_sealer;
"""


def upgrade() -> None:
    run_script(SEALS)
    run_script(RIGHTS)


def downgrade() -> None:
    op.execute(f"REVOKE INSERT ({WRITTEN}) ON gateway.audit FROM fangxian_gateway_sealer")
    op.execute("DROP TABLE gateway.visits_sealed")
    op.execute("DROP TABLE gateway.visit_seals")
    op.execute("DROP POLICY sealed ON gateway.visits")
    op.execute("REVOKE SELECT ON gateway.visits FROM fangxian_gateway_sealer")
