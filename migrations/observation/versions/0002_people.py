"""What is held of residents and of single tubes."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE observation.people (
    id uuid PRIMARY KEY,
    region text COLLATE "C" NOT NULL,
    household_id uuid,
    active boolean NOT NULL,
    tags jsonb NOT NULL
);
CREATE INDEX people_household_id_idx ON observation.people (household_id) WHERE household_id IS NOT NULL;

CREATE TABLE observation.findings (
    subject uuid NOT NULL,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    positive boolean NOT NULL,
    sampled_at timestamptz NOT NULL,
    tested_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (subject, resident_id)
);
CREATE INDEX findings_resident_id_idx ON observation.findings (resident_id);
COMMENT ON COLUMN observation.findings.subject IS 'The tube.';
COMMENT ON COLUMN observation.findings.region IS 'Where the tube was filled.';
"""


def upgrade() -> None:
    run_script(TABLES)
    # Only the worker needs them: what staff may see of a finding is in the order or the referral it led to.
    protect("observation", "people")
    protect("observation", "findings")


def downgrade() -> None:
    op.execute("DROP TABLE observation.findings")
    op.execute("DROP TABLE observation.people")
