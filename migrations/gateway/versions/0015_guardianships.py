"""For whom a resident's token acts, beside themselves (R2)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE gateway.guardianships (
    id uuid PRIMARY KEY,
    guardian_id uuid NOT NULL,
    dependant_id uuid NOT NULL
);
CREATE INDEX guardianships_guardian_id_idx ON gateway.guardianships (guardian_id);
"""


def upgrade() -> None:
    run_script(TABLES)
    allow("gateway", "guardianships", "SELECT, INSERT, UPDATE, DELETE", "system")


def downgrade() -> None:
    op.execute("DROP TABLE gateway.guardianships")
