"""What two people decide: the two-person rule."""

from alembic import op

from migrations.house import create_proposals

revision = "0020"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_proposals("registry")


def downgrade() -> None:
    op.execute("DROP TABLE registry.proposals")
