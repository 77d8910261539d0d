"""A protocol is published by two people: each after the first rests on an approved proposal (O1)."""

from alembic import op

from migrations.house import run_script

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

PUBLISHING = """
ALTER TABLE observation.protocols
    ADD COLUMN proposal_id uuid CONSTRAINT protocols_proposal_id_key UNIQUE,
    ADD COLUMN approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    ADD CONSTRAINT protocol_proposed CHECK (number = 1 OR proposal_id IS NOT NULL),
    ADD CONSTRAINT protocols_proposal_fkey FOREIGN KEY (proposal_id, approved)
        REFERENCES observation.proposals (id, state);
GRANT INSERT ON observation.protocols TO fangxian_observation_staff;
CREATE POLICY publishing ON observation.protocols FOR INSERT TO fangxian_observation_staff WITH CHECK (true);
"""


def upgrade() -> None:
    run_script(PUBLISHING)


def downgrade() -> None:
    op.execute("DROP POLICY publishing ON observation.protocols")
    op.execute("REVOKE INSERT ON observation.protocols FROM fangxian_observation_staff")
    op.execute("ALTER TABLE observation.protocols DROP COLUMN proposal_id, DROP COLUMN approved")
