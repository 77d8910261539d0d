"""Months of the audit, and days of visits that hold nothing any more, go whole (G9)."""

from alembic import op

from migrations.house import run_script
from migrations.retention import DROP_EMPTY_VISITS, purge_rows_alone, purge_whole_partitions

revision = "0110"
down_revision = "0105"
branch_labels = None
depends_on = None

AFTER_VISITS = """
    IF asked = 'visits' AND removed < most THEN
        PERFORM drop_empty_visits(before);
    END IF;
"""


def upgrade() -> None:
    run_script(DROP_EMPTY_VISITS.format(first=""))
    purge_whole_partitions("gateway", AFTER_VISITS)


def downgrade() -> None:
    purge_rows_alone("gateway")
    op.execute("DROP FUNCTION gateway.drop_empty_visits")
