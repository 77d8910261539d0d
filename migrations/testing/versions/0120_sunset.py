"""The sunset (G9)."""

from migrations.sunset import create_sunset, drop_sunset

revision = "0120"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_sunset("testing")


def downgrade() -> None:
    drop_sunset("testing")
