"""The schema of the observation service, as the first release has it."""

from pathlib import Path

from alembic import op
from sqlalchemy import text

from migrations.scripts import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The empty region: the first protocol holds wherever the program is installed.
PUBLISH = text("""
    INSERT INTO observation.protocols (id, region, number, document)
    VALUES ('5675410c-cea8-5538-ac7b-500c433f4e40', '', 1, CAST(:document AS jsonb))
""")


def upgrade() -> None:
    run_script("common/0001_baseline.sql", schema="observation")
    run_script("observation/versions/0001_baseline.sql")
    document = Path(__file__).with_name("0001_protocol.json").read_text(encoding="utf-8")
    op.get_bind().execute(PUBLISH, {"document": document})


def downgrade() -> None:
    run_script("observation/versions/0001_baseline.down.sql")
    run_script("common/0001_baseline.down.sql", schema="observation")
