"""The schema of the gateway, as the first release has it."""

from pathlib import Path

from alembic import op
from sqlalchemy import text

from migrations.scripts import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PUBLISH = text("INSERT INTO gateway.policies (version, document) VALUES (1, CAST(:document AS jsonb))")


def upgrade() -> None:
    run_script("common/0001_baseline.sql", schema="gateway")
    run_script("gateway/versions/0001_baseline.sql")
    document = Path(__file__).with_name("0001_policy.json").read_text(encoding="utf-8")
    op.get_bind().execute(PUBLISH, {"document": document})


def downgrade() -> None:
    run_script("gateway/versions/0001_baseline.down.sql")
    run_script("common/0001_baseline.down.sql", schema="gateway")
