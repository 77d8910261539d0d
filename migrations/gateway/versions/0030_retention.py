"""Retention (G9)."""

from migrations.retention import Kept, create_retention, drop_retention

revision = "0030"
down_revision = "0021"
branch_labels = None
depends_on = None

KINDS = {
    "visits": Kept(
        28,
        "local decision: two incubation periods of 14 days; where somebody was is kept no longer",
        """
            DELETE FROM visits WHERE (at, scan_id) IN (
                SELECT at, scan_id FROM visits WHERE at < before AND NOT is_held(resident_id) LIMIT most
            )
        """,
    ),
    "code_changes": Kept(
        365,
        "local decision: a year, for an appeal",
        """
            DELETE FROM code_changes WHERE number IN (
                SELECT number FROM code_changes WHERE at < before AND NOT is_held(resident_id)
                ORDER BY number LIMIT most
            )
        """,
    ),
    "messages": Kept(
        180,
        "local decision: as long as a sender may ask what became of one",
        """
            DELETE FROM messages WHERE id IN (
                SELECT id FROM messages WHERE received_at < before ORDER BY seq LIMIT most
            )
        """,
    ),
}


def upgrade() -> None:
    create_retention("gateway", KINDS)


def downgrade() -> None:
    drop_retention("gateway")
