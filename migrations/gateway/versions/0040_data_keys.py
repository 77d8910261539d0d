"""Several data keys a month, so that one can take another's place, and keys that were destroyed."""

from migrations.house import one_data_key, several_data_keys

<<<<<<<< HEAD:migrations/gateway/versions/0031_data_keys.py
revision = "0031"
========
revision = "0040"
>>>>>>>> w-rest:migrations/gateway/versions/0040_data_keys.py
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    several_data_keys("gateway")


def downgrade() -> None:
    one_data_key("gateway")
