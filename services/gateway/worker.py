"""The worker of the gateway service: its reactions, jobs, periodic tasks and purges."""

from sqlalchemy import func

from services.gateway.accounts.use_cases import forget_what_is_over
from services.gateway.codes import reactions
from services.gateway.codes.use_cases import end_what_time_has_ended, forget_negatives
from services.gateway.guardianships.reactions import follow_proxies
from services.gateway.policies.use_cases import APPLICATION, TRIAL, run_application, run_trial
from services.gateway.verifications.chaining import CHAIN_SECONDS, chain_visits
from services.gateway.webhooks.delivery import deliver, forget_deliveries
from shared.core.settings import Settings
from shared.governance.retention.reactions import follow_legal_holds
from shared.governance.retention.use_cases import Purge
from shared.runtime.worker import Monitor, PeriodicTask, Worker
from shared.runtime.worker import run as run_worker

WORKER = Worker(
    reactions=[
        reactions.follow_residents,
        reactions.follow_tubes,
        reactions.follow_orders,
        reactions.follow_referrals,
        follow_proxies,
        follow_legal_holds,
    ],
    jobs={TRIAL: run_trial, APPLICATION: run_application},
    periodic_tasks=[
        PeriodicTask(end_what_time_has_ended, every_seconds=60),
        PeriodicTask(forget_negatives, every_seconds=3600),
        PeriodicTask(forget_deliveries, every_seconds=3600),
        PeriodicTask(forget_what_is_over, every_seconds=600),
        PeriodicTask(chain_visits, every_seconds=CHAIN_SECONDS),
    ],
    monitors=[Monitor(deliver)],
    purges=[
        Purge("visits", func.purge_visits),
        Purge("code_changes", func.purge_code_changes),
        Purge("messages", func.purge_messages),
    ],
)


def run(settings: Settings) -> None:
    """Run the worker until it is stopped."""
    run_worker(settings, WORKER)
