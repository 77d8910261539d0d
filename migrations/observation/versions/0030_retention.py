"""Retention (G9)."""

from migrations.retention import Kept, create_retention, drop_retention

revision = "0030"
down_revision = "0021"
branch_labels = None
depends_on = None

KINDS = {
    "orders": Kept(
        365,
        "local decision: a year after the end, for a complaint",
        """
            DELETE FROM orders WHERE id IN (
                SELECT id FROM orders WHERE ended_at < before AND NOT is_held(resident_id) ORDER BY seq LIMIT most
            )
        """,
    ),
    "referrals": Kept(
        365,
        "local decision: a year after the outcome, for a complaint",
        """
            WITH gone AS (
                SELECT id FROM referrals WHERE closed_at < before AND NOT is_held(resident_id)
                ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED
            ),
            measured AS (DELETE FROM fevers USING gone WHERE referral_id = gone.id)
            DELETE FROM referrals USING gone WHERE referrals.id = gone.id
        """,
    ),
    "findings": Kept(
        180,
        "local decision: as testing's samples",
        """
            DELETE FROM findings WHERE (subject, resident_id) IN (
                SELECT subject, resident_id FROM findings WHERE reported_at < before AND NOT is_held(resident_id)
                    AND NOT EXISTS (SELECT FROM orders WHERE evidence_id = subject AND state = 'open')
                    AND NOT EXISTS (SELECT FROM referrals WHERE evidence_id = subject AND closed_at IS NULL)
                LIMIT most
            )
        """,
    ),
    "messages": Kept(
        180,
        "local decision: as the gateway's",
        """
            DELETE FROM messages WHERE id IN (
                SELECT id FROM messages WHERE received_at < before ORDER BY seq LIMIT most
            )
        """,
    ),
}


def upgrade() -> None:
    create_retention("observation", KINDS)


def downgrade() -> None:
    drop_retention("observation", KINDS)
