"""Regions (R1). The rows are reference data, loaded beside the migrations: migrations/regions.py."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE registry.regions (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL CONSTRAINT region_taken UNIQUE,
    name text NOT NULL,
    level text COLLATE "C" NOT NULL,
    parent text COLLATE "C" REFERENCES registry.regions (region),
    valid_from date,
    valid_until date,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT region_level CHECK (level = CASE length(region)
        WHEN 2 THEN 'province' WHEN 4 THEN 'city' WHEN 6 THEN 'county' WHEN 9 THEN 'township'
        WHEN 12 THEN 'community' WHEN 14 THEN 'patch' WHEN 16 THEN 'grid' END),
    CONSTRAINT region_parent CHECK (parent IS NULL OR starts_with(region, parent))
);
CREATE INDEX regions_region_seq_idx ON registry.regions (region, seq);
"""


def upgrade() -> None:
    run_script(TABLES)
    # The tree of regions is no person's: everybody may read it, staff add to it within their scope.
    protect("registry", "regions", staff="SELECT, INSERT, UPDATE")
    for role in ("resident", "machine", "door"):
        allow("registry", "regions", "SELECT", role)
        op.execute(f"CREATE POLICY {role} ON registry.regions FOR SELECT TO fangxian_registry_{role} USING (true)")


def downgrade() -> None:
    op.execute("DROP TABLE registry.regions")
