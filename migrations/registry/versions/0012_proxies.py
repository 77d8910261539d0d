"""Who may act for whom (R2)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import IS_SELF, protect

revision = "0012"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE registry.proxies (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    guardian_id uuid NOT NULL CONSTRAINT proxies_guardian_id_fkey REFERENCES registry.residents (id),
    dependant_id uuid NOT NULL CONSTRAINT proxies_dependant_id_fkey REFERENCES registry.residents (id),
    state text COLLATE "C" NOT NULL DEFAULT 'active',
    evidence text NOT NULL,
    given_by text NOT NULL,
    ended_by text,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT proxy_self CHECK (guardian_id <> dependant_id),
    CONSTRAINT proxy_state CHECK (state IN ('active', 'ended')),
    CONSTRAINT proxy_ended CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX proxies_region_seq_idx ON registry.proxies (region, seq);
CREATE INDEX proxies_guardian_id_idx ON registry.proxies (guardian_id);
CREATE INDEX proxies_dependant_id_idx ON registry.proxies (dependant_id);
CREATE UNIQUE INDEX proxy_exists ON registry.proxies (guardian_id, dependant_id) WHERE state = 'active';
"""


def upgrade() -> None:
    run_script(TABLES)
    protect("registry", "proxies", staff="SELECT", resident="SELECT", resident_column="guardian_id")
    condition = IS_SELF.format(column="dependant_id")
    op.execute(f"CREATE POLICY dependant ON registry.proxies TO fangxian_registry_resident USING ({condition})")


def downgrade() -> None:
    op.execute("DROP TABLE registry.proxies")
