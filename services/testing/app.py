"""The API of the testing service."""

from fastapi import FastAPI

from services.testing import acts  # noqa: F401 - declares the acts of the audit log
from services.testing.boxes import routes as boxes
from services.testing.campaigns import routes as campaigns
from services.testing.campaigns.tables import CampaignRow
from services.testing.codes import CodeKeys
from services.testing.results import routes as results
from services.testing.retests import routes as retests
from services.testing.retests.tables import RetestRow
from services.testing.tubes import routes as tubes
from services.testing.tubes.serialization import tubes_after
from services.testing.worker import WORKER
from shared.contracts.testing import Campaign, Retest, Tube
from shared.core.settings import Settings
from shared.feed.snapshots import rows_of
from shared.runtime.app import Api, build
from shared.runtime.context import ServiceContext

API = Api(
    title="Fangxian testing",
    routers=[campaigns.router, tubes.router, boxes.router, results.router, retests.router],
    snapshots={Campaign: rows_of(CampaignRow), Tube: tubes_after, Retest: rows_of(RetestRow)},
    body_bytes={"/testing/v1/seals": tubes.SEALS_BYTES},
    reactions=WORKER.reactions,
)


def create_app(settings: Settings, context: ServiceContext | None = None) -> FastAPI:
    """Create the application of one API process."""
    app = build(settings, API, context)
    app.state.code_keys = CodeKeys(app.state.context)
    return app
