"""The schema of the testing service, as the first release has it."""

from migrations.scripts import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("common/0001_baseline.sql", schema="testing")
    run_script("testing/versions/0001_baseline.sql")


def downgrade() -> None:
    run_script("testing/versions/0001_baseline.down.sql")
    run_script("common/0001_baseline.down.sql", schema="testing")
