"""A policy is published by two people: each after the first rests on an approved proposal (G2)."""

from alembic import op

from migrations.house import publish_by_proposals, publish_without_proposals

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    publish_by_proposals("gateway", "policies", one="policy", number="version")
    op.execute("ALTER TABLE gateway.policies RENAME CONSTRAINT policies_pkey TO policy_taken")


def downgrade() -> None:
    op.execute("ALTER TABLE gateway.policies RENAME CONSTRAINT policy_taken TO policies_pkey")
    publish_without_proposals("gateway", "policies")
