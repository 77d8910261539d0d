"""The worker of the observation service, with its reactions, periodic tasks and purges."""

from sqlalchemy import func

from services.observation.messages.reactions import follow_messages
from services.observation.people.reactions import follow_residents, follow_tubes
from services.observation.referrals.reactions import follow_door_fevers
from services.observation.referrals.use_cases import mark_overdue
from shared.core.settings import Settings
from shared.governance.retention.reactions import follow_legal_holds
from shared.governance.retention.use_cases import Purge
from shared.runtime.worker import PeriodicTask, Worker
from shared.runtime.worker import run as run_worker

WORKER = Worker(
    reactions=[follow_legal_holds, follow_residents, follow_tubes, follow_messages, follow_door_fevers],
    periodic_tasks=[PeriodicTask(mark_overdue, every_seconds=30)],
    purges=[
        Purge("orders", func.purge_orders),
        Purge("referrals", func.purge_referrals),
        Purge("findings", func.purge_findings),
        Purge("messages", func.purge_messages),
    ],
)


def run(settings: Settings) -> None:
    """Run the worker until it is stopped."""
    run_worker(settings, WORKER)
