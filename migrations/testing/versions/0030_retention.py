"""Retention (G9)."""

from migrations.retention import Kept, create_retention, drop_retention

revision = "0030"
down_revision = "0020"
branch_labels = None
depends_on = None

KINDS = {
    "samples": Kept(
        180,
        "local decision: half a year after the swab, for a certificate or a complaint",
        """
            DELETE FROM samples WHERE id IN (
                SELECT id FROM samples WHERE kept_at < before AND NOT is_held(resident_id)
                    AND NOT EXISTS (
                        SELECT FROM retests WHERE retests.tube_id = samples.tube_id AND state IN ('called', 'sampled')
                    )
                LIMIT most
            )
        """,
    ),
    "refused_samples": Kept(
        180,
        "local decision: as the samples",
        """
            DELETE FROM refused_samples WHERE id IN (
                SELECT id FROM refused_samples WHERE created_at < before AND NOT is_held(resident_id)
                ORDER BY seq LIMIT most
            )
        """,
    ),
    "retests": Kept(
        180,
        "local decision: as the samples",
        """
            DELETE FROM retests WHERE id IN (
                SELECT id FROM retests WHERE state IN ('settled', 'withdrawn') AND updated_at < before
                    AND NOT is_held(resident_id)
                ORDER BY seq LIMIT most
            )
        """,
    ),
    "tubes": Kept(
        180,
        "local decision: as the samples; none goes while a sample or a retest speaks of it",
        """
            WITH gone AS (
                SELECT id FROM tubes WHERE updated_at < before
                    AND NOT EXISTS (SELECT FROM samples WHERE tube_id = tubes.id)
                    AND NOT EXISTS (SELECT FROM retests WHERE pool_id = tubes.id OR tube_id = tubes.id)
                ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED
            ),
            said AS (DELETE FROM results USING gone WHERE tube_id = gone.id)
            DELETE FROM tubes USING gone WHERE tubes.id = gone.id
        """,
    ),
    "expected_people": Kept(
        180,
        "local decision: as the samples",
        """
            DELETE FROM campaign_people WHERE (campaign_id, resident_id) IN (
                SELECT campaign_id, resident_id FROM campaign_people JOIN campaigns ON campaigns.id = campaign_id
                WHERE ended_at < before AND NOT is_held(resident_id) LIMIT most
            )
        """,
    ),
}


def upgrade() -> None:
    create_retention("testing", KINDS)


def downgrade() -> None:
    drop_retention("testing", KINDS)
