"""The sunset (G9)."""

from migrations.sunset import create_sunset, drop_sunset

revision = "0130"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_sunset("gateway")


def downgrade() -> None:
    drop_sunset("gateway")
