"""Codes, the facts they follow from, and policy version 1 (G2)."""

import sqlalchemy as sa
from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect
from services.gateway.codes.policy import first

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE gateway.policies (
    version bigint PRIMARY KEY,
    document jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateway.codes (
    resident_id uuid PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    colour smallint NOT NULL DEFAULT 1,
    until timestamptz,
    colour_after smallint,
    green_from timestamptz,
    last_negative timestamptz,
    policy bigint NOT NULL,
    reasons jsonb NOT NULL DEFAULT '[]',
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT code_colour CHECK (colour BETWEEN 1 AND 3 AND colour_after BETWEEN 1 AND 3),
    CONSTRAINT code_reasons CHECK ((colour = 1) = (reasons = '[]' OR NOT reasons @? '$[*] ? (@.colour > 1)'))
) WITH (fillfactor = 80);
CREATE INDEX codes_region_idx ON gateway.codes (region);
CREATE INDEX codes_ending_idx ON gateway.codes (until) WHERE colour > 1 AND until IS NOT NULL;

CREATE TABLE gateway.facts (
    subject uuid NOT NULL,
    number smallint NOT NULL,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    source_type text NOT NULL,
    kind text NOT NULL,
    variant text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    until timestamptz,
    answers uuid,
    sampled_at timestamptz,
    pool_size smallint,
    earliest_end timestamptz,
    PRIMARY KEY (subject, number)
);
CREATE INDEX facts_negative_idx ON gateway.facts (resident_id, sampled_at) WHERE kind = 'negative';
CREATE INDEX facts_deciding_idx ON gateway.facts (resident_id) WHERE kind <> 'negative' OR answers IS NOT NULL;
CREATE INDEX facts_sampled_at_idx ON gateway.facts USING brin (sampled_at);

CREATE TABLE gateway.code_changes (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    resident_id uuid NOT NULL,
    version bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    colour smallint NOT NULL,
    policy bigint NOT NULL,
    reasons jsonb NOT NULL
);
CREATE INDEX code_changes_resident_id_idx ON gateway.code_changes (resident_id);
"""


def upgrade() -> None:
    run_script(TABLES)
    # Nobody can set a colour: only the system writes codes, and only by evaluating facts.
    protect("gateway", "codes", staff="SELECT", resident="SELECT")
    protect("gateway", "facts")
    protect("gateway", "code_changes", staff="SELECT", resident="SELECT", system="SELECT, INSERT")
    allow("gateway", "policies", "SELECT")
    policies = sa.table("policies", sa.column("version"), sa.column("document", sa.JSON), schema="gateway")
    policy = first()
    op.bulk_insert(policies, [{"version": policy.version, "document": policy.model_dump(mode="json")}])


def downgrade() -> None:
    for table in ("code_changes", "facts", "codes", "policies"):
        op.execute(f"DROP TABLE gateway.{table}")
