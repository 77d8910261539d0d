"""The registry service's worker: which reactions, jobs and ticks there are."""

from shared.settings import Settings
from shared.worker import Worker
from shared.worker import run as run_worker

WORKER = Worker()


def run(settings: Settings) -> None:
    """Run until told to stop."""
    run_worker(settings, WORKER)
