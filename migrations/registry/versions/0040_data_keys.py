"""Several data keys a month; a second unique index for documents while the index key is rotated; who saw whom in clear.

A resident's document is indexed under the keys of the two columns by turns. While both are in use whoever registers
somebody writes both, so that uniqueness holds between those who know the new key already and those who do not.
"""

from alembic import op

from migrations.house import one_data_key, run_script, several_data_keys
from migrations.roles import allow

revision = "0040"
down_revision = "0030"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE registry.residents
    ADD COLUMN document_index_b bytea,
    ALTER COLUMN document_index DROP NOT NULL,
    ADD CONSTRAINT resident_index CHECK (num_nonnulls(document_index, document_index_b) > 0);
CREATE UNIQUE INDEX resident_exists_b ON registry.residents (document_index_b) WHERE document_index_b IS NOT NULL;
COMMENT ON COLUMN registry.residents.document_index_b IS 'The same under the index key of the other turn.';

CREATE TABLE registry.reveals (
    actor text PRIMARY KEY,
    times timestamptz[] NOT NULL
);
COMMENT ON TABLE registry.reveals IS 'When each of the staff saw somebody in clear within the last hour.';
"""


def upgrade() -> None:
    several_data_keys("registry")
    run_script(TABLES)
    allow("registry", "reveals", "SELECT, INSERT, UPDATE", "staff")
    allow("registry", "import_errors", "UPDATE", "system")
    allow("registry", "holds", "UPDATE (reason_sealed)", "system")


def downgrade() -> None:
    op.execute("REVOKE UPDATE ON registry.import_errors FROM fangxian_registry_system")
    op.execute("REVOKE UPDATE (reason_sealed) ON registry.holds FROM fangxian_registry_system")
    op.execute("DROP TABLE registry.reveals")
    op.execute("DROP INDEX registry.resident_exists_b")
    op.execute("ALTER TABLE registry.residents DROP CONSTRAINT resident_index")
    op.execute("ALTER TABLE registry.residents DROP COLUMN document_index_b, ALTER COLUMN document_index SET NOT NULL")
    one_data_key("registry")
