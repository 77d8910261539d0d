"""Files that are kept before their job is added: a large one takes longer than one transaction may."""

from migrations.house import files_after_jobs, files_before_jobs

revision = "0105"
down_revision = "0100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    files_before_jobs("gateway")


def downgrade() -> None:
    files_after_jobs("gateway")
