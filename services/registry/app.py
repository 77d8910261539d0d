"""The registry's API: what exists."""

from fastapi import FastAPI

from services.registry.regions import routes as regions
from services.registry.regions.tables import RegionRow
from shared.app import Api, build
from shared.contracts.registry import Region
from shared.feed.snapshots import rows_of
from shared.house import House
from shared.settings import Settings

API = Api(
    title="Fangxian registry",
    routers=[regions.router],
    snapshots={Region: rows_of(RegionRow)},
)


def create_app(settings: Settings, house: House | None = None) -> FastAPI:
    """The application of one API process."""
    return build(settings, API, house)
