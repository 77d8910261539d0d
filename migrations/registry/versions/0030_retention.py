"""Retention, and legal holds (G9)."""

from alembic import op

from migrations.house import run_script
from migrations.retention import Kept, create_retention, drop_retention
from migrations.roles import protect

revision = "0030"
down_revision = "0020"
branch_labels = None
depends_on = None

KINDS = {
    "closed_residents": Kept(
        180,
        "local decision: a record closed by mistake can be opened again for half a year",
        """
            WITH gone AS (
                SELECT id FROM residents
                WHERE state = 'closed' AND (updated_at < before OR erasure_asked_at IS NOT NULL) AND NOT is_held(id)
                    AND NOT EXISTS (SELECT FROM holds WHERE resident_id = residents.id)
                ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED
            ),
            history AS (DELETE FROM resident_history USING gone WHERE resident_id = gone.id),
            transferred AS (DELETE FROM transfers USING gone WHERE resident_id = gone.id),
            guarded AS (DELETE FROM proxies USING gone WHERE gone.id IN (guardian_id, dependant_id)),
            registered AS (DELETE FROM registrations USING gone WHERE resident_id = gone.id)
            DELETE FROM residents USING gone WHERE residents.id = gone.id
        """,
    ),
    "registrations": Kept(
        30,
        "local decision: as long as somebody may ask what became of a request",
        """
            DELETE FROM registrations WHERE id IN (
                SELECT id FROM registrations WHERE state <> 'received' AND updated_at < before ORDER BY seq LIMIT most
            )
        """,
    ),
    "transfers": Kept(
        180,
        "local decision",
        """
            DELETE FROM transfers WHERE id IN (
                SELECT id FROM transfers WHERE state IN ('refused', 'done') AND updated_at < before
                    AND NOT is_held(resident_id)
                ORDER BY seq LIMIT most
            )
        """,
    ),
    "resident_history": Kept(
        730,
        "local decision: two years of counts can be made again (article 3)",
        """
            DELETE FROM resident_history WHERE (resident_id, until) IN (
                SELECT resident_id, until FROM resident_history WHERE until < before AND NOT is_held(resident_id)
                LIMIT most
            )
        """,
    ),
    "holds": Kept(
        1095,
        "local decision: three years after its release one can still be accounted for",
        """
            DELETE FROM holds WHERE id IN (
                SELECT id FROM holds WHERE least(released_at, until) < before ORDER BY seq LIMIT most
            )
        """,
    ),
}

TABLES = """
CREATE TABLE registry.holds (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL CONSTRAINT holds_resident_id_fkey REFERENCES registry.residents (id),
    reason_sealed bytea NOT NULL,
    ordered_by text NOT NULL,
    until timestamptz NOT NULL,
    released_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX holds_region_seq_idx ON registry.holds (region, seq);
CREATE INDEX holds_resident_id_idx ON registry.holds (resident_id);
COMMENT ON COLUMN registry.holds.ordered_by IS 'The court or authority.';
"""


def upgrade() -> None:
    create_retention("registry", KINDS)
    run_script(TABLES)
    protect("registry", "holds", staff="SELECT, INSERT, UPDATE", system="SELECT")
    op.execute("GRANT UPDATE (reason_sealed) ON registry.holds TO fangxian_registry_system")


def downgrade() -> None:
    op.execute("DROP TABLE registry.holds")
    drop_retention("registry", KINDS)
