"""Days whose birthdays were looked at: who became an elder, or was a child no longer (R3)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE registry.birthdays (
    day date PRIMARY KEY
);
COMMENT ON TABLE registry.birthdays IS 'Days whose birthdays were looked at.';
"""


def upgrade() -> None:
    run_script(TABLES)
    allow("registry", "birthdays", "SELECT, INSERT", "system")


def downgrade() -> None:
    op.execute("DROP TABLE registry.birthdays")
