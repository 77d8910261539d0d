"""Several data keys a month, so that one can take another's place, and keys that were destroyed."""

from migrations.house import one_data_key, several_data_keys

revision = "0040"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    several_data_keys("observation")


def downgrade() -> None:
    one_data_key("observation")
