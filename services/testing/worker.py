"""The worker of the testing service, with its reactions and purges."""

from sqlalchemy import func

from services.testing.laboratories.reactions import follow_parties
from services.testing.people.reactions import follow_orders, follow_residents
from shared.core.settings import Settings
from shared.governance.retention.reactions import follow_legal_holds
from shared.governance.retention.use_cases import Purge
from shared.runtime.worker import Worker
from shared.runtime.worker import run as run_worker

WORKER = Worker(
    reactions=[follow_legal_holds, follow_residents, follow_orders, follow_parties],
    purges=[
        Purge("samples", func.purge_samples),
        Purge("refused_samples", func.purge_refused_samples),
        Purge("retests", func.purge_retests),
        Purge("tubes", func.purge_tubes),
        Purge("expected_people", func.purge_expected_people),
    ],
)


def run(settings: Settings) -> None:
    """Run the worker until it is stopped."""
    run_worker(settings, WORKER)
