"""The rows of imported files that could not be taken (R2)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE registry.import_errors (
    job_id uuid NOT NULL CONSTRAINT import_errors_job_id_fkey REFERENCES registry.jobs (id) ON DELETE CASCADE,
    line integer NOT NULL,
    region text COLLATE "C" NOT NULL,
    row_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, line)
);
CREATE INDEX import_errors_region_idx ON registry.import_errors (region);
CREATE INDEX import_errors_created_at_idx ON registry.import_errors (created_at);
COMMENT ON TABLE registry.import_errors IS 'Rows not taken, as they were sent and why, until they are forgotten.';
COMMENT ON COLUMN registry.import_errors.region IS 'The scope of whoever sent the file.';
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("registry", "import_errors", staff="SELECT", system="SELECT, INSERT, UPDATE, DELETE")


def downgrade() -> None:
    op.execute("DROP TABLE registry.import_errors")
