"""Months of the audit that are past their period go whole (G9)."""

from migrations.retention import purge_rows_alone, purge_whole_partitions

revision = "0110"
down_revision = "0105"
branch_labels = None
depends_on = None


def upgrade() -> None:
    purge_whole_partitions("registry")


def downgrade() -> None:
    purge_rows_alone("registry")
