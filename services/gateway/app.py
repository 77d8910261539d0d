"""The gateway service's API."""

from collections.abc import Sequence
from dataclasses import replace

from fastapi import FastAPI
from starlette.routing import BaseRoute

from services.gateway.codes import routes as codes
from services.gateway.codes.use_cases import snapshot_of_codes
from services.gateway.edge import development, pages, proxy
from services.gateway.edge.authentication import outside_tokens
from services.gateway.messages import routes as hooks
from services.gateway.messages.tables import MessageRow
from services.gateway.webhooks import routes as webhooks
from shared.app import Api, build
from shared.contracts.gateway import Code, Message
from shared.feed.snapshots import rows_of
from shared.house import House
from shared.settings import Settings


def hot_routes(house: House) -> Sequence[BaseRoute]:
    """What stands beside FastAPI: the ways through the edge."""
    return [*pages.routes(house), *proxy.routes(house)]


API = Api(
    title="Fangxian gateway",
    routers=[codes.router, hooks.hooks, hooks.sources, hooks.messages, webhooks.router],
    snapshots={Code: snapshot_of_codes, Message: rows_of(MessageRow)},
    hot_routes=hot_routes,
    upload_paths=[f"/{service}/" for service in proxy.BEHIND],
    body_bytes={hooks.HOOKS: hooks.BODY_BYTES},
    authenticate=outside_tokens,
    openapi_path="/gateway/openapi.json",
)


def create_app(settings: Settings, house: House | None = None) -> FastAPI:
    """The application of one API process."""
    api = replace(API, routers=[*API.routers, development.router]) if settings.development_issuer else API
    return build(settings, api, house)
