"""Results (T6): everything laboratories said."""

from alembic import op

from migrations.house import run_script
from migrations.roles import protect

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE testing.results (
    tube_id uuid NOT NULL REFERENCES testing.tubes (id),
    revision bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    laboratory text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    tested_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (tube_id, revision),
    CONSTRAINT result_revision CHECK (revision BETWEEN 1 AND 1000),
    CONSTRAINT result_outcome CHECK (outcome IN ('negative', 'positive', 'inconclusive', 'invalid'))
);
"""


def upgrade() -> None:
    run_script(TABLES)
    protect(
        "testing",
        "results",
        staff="SELECT",
        machine="SELECT",
        system="SELECT, INSERT",
        machine_column="laboratory",
    )


def downgrade() -> None:
    op.execute("DROP TABLE testing.results")
