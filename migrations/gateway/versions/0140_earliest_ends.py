"""What is known of when a restriction ends at the earliest, though only evidence ends it (G2)."""

from alembic import op

revision = "0140"
down_revision = "0130"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE gateway.facts ADD COLUMN earliest_end timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE gateway.facts DROP COLUMN earliest_end")
