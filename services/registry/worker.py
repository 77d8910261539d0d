"""The worker of the registry service, with its jobs, periodic tasks and purges."""

from sqlalchemy import func

from services.registry.imports.import_job import forget_errors, import_file
from services.registry.imports.use_cases import KIND as IMPORT
from services.registry.residents.birthdays import follow_birthdays
from services.registry.residents.reindexing import KIND as REINDEX
from services.registry.residents.reindexing import reindex
from services.registry.residents.transfers import settle_requests
from shared.core.settings import Settings
from shared.governance.retention.use_cases import Purge
from shared.runtime.worker import PeriodicTask, Worker
from shared.runtime.worker import run as run_worker

WORKER = Worker(
    jobs={IMPORT: import_file, REINDEX: reindex},
    periodic_tasks=[
        PeriodicTask(settle_requests, every_seconds=2, on_wake=True),
        PeriodicTask(follow_birthdays, every_seconds=600),
        PeriodicTask(forget_errors, every_seconds=3600),
    ],
    purges=[
        Purge("closed_residents", func.purge_closed_residents),
        Purge("registrations", func.purge_registrations),
        Purge("transfers", func.purge_transfers),
        Purge("resident_history", func.purge_resident_history),
        Purge("holds", func.purge_holds),
    ],
)


def run(settings: Settings) -> None:
    """Run the worker until it is stopped."""
    run_worker(settings, WORKER)
