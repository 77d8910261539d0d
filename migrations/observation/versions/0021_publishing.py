"""A protocol is published by two people: each after the first rests on an approved proposal (O1)."""

from alembic import op

from migrations.house import publish_by_proposals, publish_without_proposals

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    publish_by_proposals("observation", "protocols", one="protocol", number="number")
    op.execute(
        "CREATE POLICY publishing ON observation.protocols FOR INSERT TO fangxian_observation_staff WITH CHECK (true)"
    )


def downgrade() -> None:
    op.execute("DROP POLICY publishing ON observation.protocols")
    publish_without_proposals("observation", "protocols")
