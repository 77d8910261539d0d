"""The two fast-path routes of the gateway (verify, own code), with their own database connections."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from sqlalchemy.engine import make_url
from starlette.routing import BaseRoute

from services.gateway.batcher import Connect, connector
from services.gateway.edge.authentication import fast_path_tokens
from services.gateway.edge.trusted_issuers import TrustedIssuers
from services.gateway.tokens.current_code import CurrentCodeEndpoint, CurrentCodes, codes_over
from services.gateway.tokens.keys import Keys
from services.gateway.verifications.door import VerificationBatcher, batcher_over
from services.gateway.verifications.endpoint import VerificationEndpoint
from shared.core import clock
from shared.core.actors import DatabaseRole
from shared.core.settings import Settings
from shared.database.engine import group_of, session_settings
from shared.runtime.context import ServiceContext


@dataclass(frozen=True)
class Engines:
    """The batchers and keys of a process."""

    batcher: VerificationBatcher
    codes: CurrentCodes
    keys: Keys

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Create the engines. They are not started yet."""
        return cls(
            batcher_over(_connector(settings, "door"), clock.now),
            codes_over(_connector(settings, "resident")),
            Keys.from_files(settings.keys),
        )

    def routes(self, context: ServiceContext, trusted_issuers: TrustedIssuers) -> Sequence[BaseRoute]:
        """Return the fast-path routes."""
        authenticate = fast_path_tokens(trusted_issuers, context.settings)
        context.refreshed.append(self.keys.refresh)
        return [
            VerificationEndpoint(self.batcher, authenticate, self.keys, clock.now, lambda: context.is_over).route(),
            CurrentCodeEndpoint(self.codes, authenticate, self.keys, clock.now, context.settings.yellow).route(),
        ]

    @asynccontextmanager
    async def running(self, _: ServiceContext) -> AsyncIterator[None]:
        """Run the batchers. They connect as soon as the database is available."""
        async with self.batcher, self.codes:
            yield


def _connector(settings: Settings, role: DatabaseRole) -> Connect:
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
    of_session = dict(session_settings(settings)) | {"role": group_of("gateway", role)}
    return connector(url.render_as_string(hide_password=False), **of_session)
