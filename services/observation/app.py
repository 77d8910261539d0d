"""The API of the observation service."""

from fastapi import FastAPI

from services.observation import acts  # noqa: F401 - declares the acts of the audit log
from services.observation.messages import routes as messages
from services.observation.orders import routes as orders
from services.observation.orders.decisions import ORDER_KINDS
from services.observation.orders.tables import OrderRow
from services.observation.protocols import routes as protocols
from services.observation.protocols.use_cases import PROTOCOL
from services.observation.referrals import routes as referrals
from services.observation.referrals.tables import ReferralRow
from services.observation.worker import WORKER
from shared.contracts.observation import Order, Referral
from shared.core.settings import Settings
from shared.feed.snapshots import rows_of
from shared.runtime.app import Api, build
from shared.runtime.context import ServiceContext

API = Api(
    title="Fangxian observation",
    routers=[protocols.router, orders.router, referrals.router, messages.router],
    proposals=[PROTOCOL, *ORDER_KINDS],
    snapshots={Order: rows_of(OrderRow), Referral: rows_of(ReferralRow)},
    reactions=WORKER.reactions,
)


def create_app(settings: Settings, context: ServiceContext | None = None) -> FastAPI:
    """Create the application of one API process."""
    return build(settings, API, context)
