"""The issuer of one process: its routes and its background tasks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from starlette.routing import BaseRoute

from services.gateway.accounts.sending import Sender, sender_of
from services.gateway.accounts.tables import AccountRow
from services.gateway.edge.trusted_issuers import TrustedIssuers
from services.gateway.issuer import ending
from services.gateway.issuer.direct import MiniProgram
from services.gateway.issuer.endpoints import Endpoints
from services.gateway.issuer.keys import SigningKeys
from services.gateway.issuer.sign_in import SignIn
from services.gateway.issuer.tables import SessionRow
from services.gateway.issuer.use_cases import Provider, access_token
from shared.core.settings import Settings
from shared.database.unit_of_work import UnitOfWork
from shared.runtime.context import ServiceContext


@dataclass(frozen=True)
class SigningIn:
    """The issuer of one process."""

    provider: Provider
    ended: dict[str, float]
    send: Sender
    mini_program: MiniProgram

    @classmethod
    def of(cls, settings: Settings, trusted_issuers: TrustedIssuers) -> Self:
        """Create an issuer. It is not started yet."""
        provider = Provider(settings.issuer_url, trusted_issuers.own, SigningKeys())
        return cls(provider, trusted_issuers.ended, sender_of(settings), MiniProgram.of(settings))

    async def renew(self, uow: UnitOfWork, token: str) -> tuple[str, int] | None:
        """Issue a new access token for a resident's session, with the current state of the account."""
        session_id = self.provider.issuer.session_of(token)
        session = None if session_id is None else await uow.session.get(SessionRow, session_id)
        account = None if session is None else await uow.session.get(AccountRow, session.account_id)
        if session is None or account is None:
            return None
        given = await access_token(uow, self.provider, account, None, session)
        return given.access_token, given.expires_in

    def routes(self, context: ServiceContext) -> Sequence[BaseRoute]:
        """Return the routes for people and clients."""
        return [
            *SignIn(context, self.provider, self.send).routes(),
            *Endpoints(context, self.provider, self.send, self.mini_program).routes(),
        ]

    @asynccontextmanager
    async def running(self, context: ServiceContext) -> AsyncIterator[None]:
        """Run the tasks that load the signing keys and the endings."""
        tasks = [
            asyncio.create_task(self.provider.keys.keep_reading(context)),
            asyncio.create_task(ending.keep_reading(context, self.ended)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
