"""The gateway service's API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI
from starlette.routing import BaseRoute

from services.gateway import acts  # noqa: F401 - declares the texts of audit entries
from services.gateway.accounts import routes as accounts
from services.gateway.audit import routes as audit
from services.gateway.clients import routes as clients
from services.gateway.codes import routes as codes
from services.gateway.codes.use_cases import snapshot_of_codes
from services.gateway.edge import browsers, development, forward_auth, home, pages, protected, reverse_proxy
from services.gateway.edge.admission import AdmissionMiddleware
from services.gateway.edge.authentication import outside_tokens
from services.gateway.edge.receipt_check import ReceiptCheck
from services.gateway.edge.trusted_issuers import TrustedIssuers
from services.gateway.fast_path import Engines
from services.gateway.grants import routes as grants
from services.gateway.issuer import endpoints, sign_in, visiting
from services.gateway.issuer import routes as sessions
from services.gateway.issuer.running import SigningIn
from services.gateway.messages import routes as hooks
from services.gateway.messages.tables import MessageRow
from services.gateway.parties.tables import PartyRow
from services.gateway.points import routes as points
from services.gateway.points.protecting import ProtectingPoints
from services.gateway.policies import routes as policies
from services.gateway.policies.use_cases import POLICY
from services.gateway.sunset import routes as sunset
from services.gateway.sunset.use_cases import SUNSET
from services.gateway.tokens import routes as tokens
from services.gateway.verifications import routes as visits
from services.gateway.verifications.use_cases import snapshot_of_fevers
from services.gateway.webhooks import routes as webhooks
from services.gateway.worker import WORKER
from shared.contracts.gateway import Code, DoorFever, Message, Party
from shared.core.settings import Settings
from shared.feed.snapshots import rows_of
from shared.runtime.app import Api, build
from shared.runtime.context import ServiceContext

API = Api(
    title="Fangxian gateway",
    routers=[
        audit.published,
        audit.looking,
        accounts.router,
        clients.router,
        codes.router,
        grants.router,
        hooks.hooks,
        hooks.sources,
        hooks.messages,
        points.router,
        policies.router,
        sessions.router,
        sunset.router,
        visits.router,
        visits.internal,
        webhooks.router,
    ],
    proposals=[POLICY, SUNSET],
    snapshots={
        Code: snapshot_of_codes,
        Message: rows_of(MessageRow),
        Party: rows_of(PartyRow),
        DoorFever: snapshot_of_fevers,
    },
    upload_paths=reverse_proxy.UPLOADS,
    body_bytes={
        **reverse_proxy.BODY_BYTES,
        hooks.HOOKS: hooks.BODY_BYTES,
        protected.SERVICES: protected.BODY_BYTES,
        visiting.PREFIX: sign_in.BODY_BYTES,
        endpoints.PREFIX: endpoints.BODY_BYTES,
    },
    foreign_paths=[protected.SERVICES],
    openapi_path="/gateway/openapi.json",
    is_edge=True,
    reactions=WORKER.reactions,
)


def create_app(settings: Settings, context: ServiceContext | None = None) -> FastAPI:
    """Create the application of one API process."""
    context = context or ServiceContext.build(settings)
    engines = Engines.of(settings)
    trusted_issuers = TrustedIssuers.of(settings)
    signing_in = SigningIn.of(settings, trusted_issuers)
    points_protecting = ProtectingPoints(context)
    receipt_check = ReceiptCheck(
        points_protecting.find,
        lambda: engines.keys.receipt_secrets,
        lambda: context.is_over,
        points_protecting.remembered,
    )

    def beside(context: ServiceContext) -> Sequence[BaseRoute]:
        """Return the routes outside FastAPI: the fast path, sign-in, pages, and forwarding to other services."""
        context.refreshed.append(trusted_issuers.own.refresh)
        return [
            *engines.routes(context, trusted_issuers),
            *signing_in.routes(context),
            *tokens.well_known(engines.keys),
            *home.ROUTES,
            *pages.routes(context, trusted_issuers.own, lambda: engines.keys.public),
            *forward_auth.routes(receipt_check),
            *protected.routes(context, receipt_check),
            *reverse_proxy.routes(context),
        ]

    def within(app: FastAPI) -> None:
        """Add the middleware for all requests from outside, except those on the fast path."""
        app.add_middleware(AdmissionMiddleware, settings=settings, bearer_of=trusted_issuers.bearer_of)
        browsers.let_in(app, settings)

    @asynccontextmanager
    async def running(context: ServiceContext) -> AsyncIterator[None]:
        """Run the background tasks of the process."""
        async with (
            engines.running(context),
            trusted_issuers.running(),
            signing_in.running(context),
            points_protecting.kept(),
        ):
            yield

    own = [
        tokens.picture(engines.codes, engines.keys),
        accounts.of_residents(signing_in.send, signing_in.renew),
        *([development.router] if settings.development_issuer else []),
    ]
    api = replace(
        API,
        within=within,
        routers=[*API.routers, *own],
        fast_routes=beside,
        lifespan=running,
        authenticate=outside_tokens(trusted_issuers),
    )
    app = build(settings, api, context)
    app.add_middleware(
        forward_auth.ForwardAuth, receipt_check=receipt_check
    )  # added last, so it runs before all limits; only for proxies
    return app
