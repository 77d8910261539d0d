"""The schema with what every service has."""

from migrations.audit import create_audit, drop_audit
from migrations.house import create_house, drop_house

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_house("gateway")
    create_audit("gateway")


def downgrade() -> None:
    drop_audit("gateway")
    drop_house("gateway")
