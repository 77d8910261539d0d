"""Protocols (O1), with version 1: the plan of January 2021."""

import json
from importlib.resources import files

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.house import run_script
from migrations.roles import allow, protect
from shared.ids import named_id

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHOLE = ""
"""The region of the first protocol: it holds wherever the program is installed."""

TABLES = """
CREATE TABLE observation.protocols (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    number bigint NOT NULL CONSTRAINT protocol_taken UNIQUE,
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX protocols_region_seq_idx ON observation.protocols (region, seq);
"""


def upgrade() -> None:
    run_script(TABLES)
    # A protocol is no person's: everybody may read it, and nothing at run time may change it.
    protect("observation", "protocols", system="SELECT")
    for role in ("staff", "resident", "machine", "door"):
        allow("observation", "protocols", "SELECT", role)
        op.execute(
            f"CREATE POLICY {role} ON observation.protocols FOR SELECT TO fangxian_observation_{role} USING (true)"
        )
    document = json.loads((files("services.observation.protocols") / "protocol_1.json").read_text(encoding="utf-8"))
    protocols = sa.table(
        "protocols",
        *(sa.column(name) for name in ("id", "region", "number")),
        sa.column("document", JSONB),
        schema="observation",
    )
    op.bulk_insert(protocols, [{"id": named_id("protocol", "1"), "region": WHOLE, "number": 1, "document": document}])


def downgrade() -> None:
    op.execute("DROP TABLE observation.protocols")
