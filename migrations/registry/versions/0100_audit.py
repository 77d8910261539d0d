"""An audit that is chained, kept by day, and can only be added to (G9)."""

from migrations.audit import create_audit, drop_audit

revision = "0100"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_audit("registry")


def downgrade() -> None:
    drop_audit("registry")
