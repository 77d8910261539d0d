"""Regions (R1), with all of Jinjiang's codes."""

import csv
from importlib.resources import files

import sqlalchemy as sa
from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect
from shared.ids import named_id
from shared.regions import level_of, parent_of

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
    with (files("services.registry.regions") / "jinjiang.csv").open(encoding="utf-8") as lines:
        codes = [(row["code"], row["name"]) for row in csv.DictReader(lines)]
    regions = sa.table(
        "regions", *(sa.column(name) for name in ("id", "region", "name", "level", "parent")), schema="registry"
    )
    op.bulk_insert(
        regions,
        [
            {
                "id": named_id("region", code),
                "region": code,
                "name": name,
                "level": level_of(code),
                "parent": parent_of(code),
            }
            for code, name in sorted(codes, key=lambda row: len(row[0]))
        ],
    )


def downgrade() -> None:
    op.execute("DROP TABLE registry.regions")
