"""A policy is published by two people: each after the first rests on an approved proposal (G2)."""

from alembic import op

from migrations.house import run_script

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

PUBLISHING = """
ALTER TABLE gateway.policies
    ADD COLUMN proposal_id uuid CONSTRAINT policies_proposal_id_key UNIQUE,
    ADD COLUMN approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    ADD CONSTRAINT policy_proposed CHECK (version = 1 OR proposal_id IS NOT NULL),
    ADD CONSTRAINT policies_proposal_fkey FOREIGN KEY (proposal_id, approved)
        REFERENCES gateway.proposals (id, state);
ALTER TABLE gateway.policies RENAME CONSTRAINT policies_pkey TO policy_taken;
GRANT INSERT ON gateway.policies TO fangxian_gateway_staff;
"""


def upgrade() -> None:
    run_script(PUBLISHING)


def downgrade() -> None:
    op.execute("REVOKE INSERT ON gateway.policies FROM fangxian_gateway_staff")
    op.execute("ALTER TABLE gateway.policies RENAME CONSTRAINT policy_taken TO policies_pkey")
    op.execute("ALTER TABLE gateway.policies DROP COLUMN proposal_id, DROP COLUMN approved")
