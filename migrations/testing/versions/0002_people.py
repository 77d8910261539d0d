"""People who may be sampled, orders that put them into tubes of their own, and the laboratories that there are."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE testing.people (
    id uuid PRIMARY KEY,
    region text COLLATE "C" NOT NULL,
    active boolean NOT NULL
);
CREATE INDEX people_region_idx ON testing.people (region);

CREATE TABLE testing.observed (
    subject uuid PRIMARY KEY,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL
);
CREATE INDEX observed_resident_id_idx ON testing.observed (resident_id);
COMMENT ON COLUMN testing.observed.subject IS 'The order.';

CREATE TABLE testing.laboratories (
    id uuid PRIMARY KEY,
    party text COLLATE "C" NOT NULL,
    active boolean NOT NULL
);
CREATE INDEX laboratories_party_idx ON testing.laboratories (party) WHERE active;
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("testing", "people", staff="SELECT")
    protect("testing", "observed")
    allow("testing", "laboratories", "SELECT", "staff")
    allow("testing", "laboratories", "SELECT, INSERT, UPDATE, DELETE", "system")


def downgrade() -> None:
    op.execute("DROP TABLE testing.laboratories")
    op.execute("DROP TABLE testing.observed")
    op.execute("DROP TABLE testing.people")
