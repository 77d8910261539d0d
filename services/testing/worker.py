"""The worker of the testing service, with its reactions."""

from services.testing.laboratories.reactions import follow_parties
from services.testing.people.reactions import follow_orders, follow_residents
from shared.retention.reactions import follow_legal_holds
from shared.settings import Settings
from shared.worker import Worker
from shared.worker import run as run_worker

WORKER = Worker(reactions=[follow_legal_holds, follow_residents, follow_orders, follow_parties])


def run(settings: Settings) -> None:
    """Run the worker until it is stopped."""
    run_worker(settings, WORKER)
