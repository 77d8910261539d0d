"""The API of the registry service."""

from fastapi import FastAPI

from services.registry import acts  # noqa: F401 - declares the acts of the audit log
from services.registry.erasures import routes as erasures
from services.registry.holds import routes as holds
from services.registry.holds.tables import HoldRow
from services.registry.imports import routes as imports
from services.registry.population import routes as population
from services.registry.proxies import routes as proxies
from services.registry.proxies.tables import ProxyRow
from services.registry.regions import routes as regions
from services.registry.regions.tables import RegionRow
from services.registry.residents import routes as residents
from services.registry.residents.tables import ResidentRow
from shared.contracts.registry import LegalHold, Proxy, Region, Resident
from shared.core.settings import Settings
from shared.feed.snapshots import rows_of
from shared.runtime.app import Api, build
from shared.runtime.context import ServiceContext

API = Api(
    title="Fangxian registry",
    routers=[
        regions.router,
        residents.internal,
        residents.router,
        residents.registrations,
        residents.transfers_router,
        imports.router,
        population.router,
        holds.router,
        erasures.router,
        proxies.router,
    ],
    snapshots={
        Region: rows_of(RegionRow),
        Resident: rows_of(ResidentRow),
        LegalHold: rows_of(HoldRow),
        Proxy: rows_of(ProxyRow),
    },
    upload_paths=["/registry/v1/imports"],
)


def create_app(settings: Settings, context: ServiceContext | None = None) -> FastAPI:
    """Create the application of one API process."""
    return build(settings, API, context)
