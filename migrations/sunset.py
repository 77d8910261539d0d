"""The sunset in the database: one row, once, by two people."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow
from shared.settings import Service

TABLE = """
CREATE TABLE {s}.sunset (
    "only" boolean PRIMARY KEY DEFAULT true CONSTRAINT sunset_once CHECK ("only"),
    declared_on date NOT NULL,
    decree text NOT NULL,
    proposal_id uuid NOT NULL,
    approved_at timestamptz NOT NULL,
    progress jsonb NOT NULL DEFAULT '{{}}'
);
COMMENT ON TABLE {s}.sunset IS 'That the emergency is over. Where this has its row, nothing is collected.';
"""


def create_sunset(service: Service) -> None:
    """Make the place for it. Nobody at run time takes it back."""
    run_script(TABLE.format(s=service))
    allow(service, "sunset", "SELECT")
    if service == "gateway":
        allow(service, "sunset", "INSERT (declared_on, decree, proposal_id, approved_at)", "staff")


def drop_sunset(service: Service) -> None:
    """Take it away."""
    op.execute(f"DROP TABLE {service}.sunset")
