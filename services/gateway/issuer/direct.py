"""Sign-in without a page, for apps of residents: with a phone code, or with the login code of a mini-program.

The platform of the mini-program is called before the transaction begins, so that no transaction waits for it. Its
`code2session` returns the person's `openid`. Only a blind index of it is stored; the session key is ignored.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import httpx
import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from services.gateway.accounts import phones
from services.gateway.accounts.tables import AccountRow
from services.gateway.clients.tables import ClientRow
from services.gateway.issuer.refusals import RefusedError
from services.gateway.issuer.rules import is_uuid
from services.gateway.issuer.use_cases import Answer, Given, Provider, begin_session, give
from shared.core.ids import new_id
from shared.core.regions import OUTSIDE
from shared.core.settings import Settings
from shared.database.unit_of_work import UnitOfWork

log = structlog.get_logger()

PLATFORM_SECONDS = 5.0
MOST_BYTES = 16 << 10
LONGEST_CODE = 200
CODE_OF_NOBODY = frozenset({40029, 40163, 40226})
"""Error codes of the platform for a code that is wrong, was used, or belongs to a blocked user."""


@dataclass(frozen=True)
class Proof:
    """The person of a login code, as the platform identifies them."""

    open_id: str


@dataclass(frozen=True)
class MiniProgram:
    """The platform of a mini-program: one call, `code2session`."""

    url: str
    app_id: str
    secret: str
    transport: httpx.AsyncBaseTransport | None = None

    @classmethod
    def of(cls, settings: Settings) -> "MiniProgram":
        """Create it from the settings."""
        return cls(settings.mini_program_url, settings.mini_program_id, settings.mini_program_secret.get_secret_value())

    async def proof(self, code: str) -> Proof:
        """Return the person of a login code. Raises RefusedError if it is not valid or the platform does not answer."""
        if not self.app_id:
            raise RefusedError("mini_program_unset")
        if not code or len(code) > LONGEST_CODE:
            raise RefusedError("login_code_wrong")
        query = {"appid": self.app_id, "secret": self.secret, "js_code": code, "grant_type": "authorization_code"}
        try:
            async with (
                asyncio.timeout(PLATFORM_SECONDS),
                httpx.AsyncClient(transport=self.transport, trust_env=False) as client,
            ):
                answer = await client.get(f"{self.url}/sns/jscode2session", params=query)
            payload = answer.raise_for_status().json() if len(answer.content) <= MOST_BYTES else {}
            fault, open_id = int(payload.get("errcode", 0)), payload.get("openid")
        except (httpx.HTTPError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            # Log only the type of the error, because its text contains the URL with the secret.
            log.warning("mini_program.away", error=type(error).__name__)
            raise RefusedError("platform_away", retry_after=5) from None
        if fault in CODE_OF_NOBODY:
            raise RefusedError("login_code_wrong")
        if fault or not isinstance(open_id, str) or not open_id:
            log.warning("mini_program.refuses", code=fault)
            raise RefusedError("platform_away", retry_after=5)
        return Proof(open_id)


async def by_mini_program(uow: UnitOfWork, provider: Provider, client: ClientRow, proof: Proof, agent: str) -> Answer:
    """Sign in the person of a proof. Creates the account on the first sign-in."""
    index = uow.context.keyring.index("open_id", proof.open_id)
    values = {"id": new_id(), "region": OUTSIDE, "kind": "resident", "open_id_index": index}
    await uow.run(insert(AccountRow).values(values).on_conflict_do_nothing(constraint="open_id_taken"))
    account = (await uow.session.scalars(select(AccountRow).filter_by(open_id_index=index))).one()
    return await _begin(uow, provider, client, account, ["mini_program"], agent)


async def by_phone_code(
    uow: UnitOfWork, provider: Provider, client: ClientRow, parameters: Mapping[str, str], agent: str
) -> tuple[Answer, phones.Message | None]:
    """Sign in with a phone code and the secret of its challenge. Also returns a message to send after wrong guesses."""
    challenge = parameters.get("challenge_id", "")
    if not is_uuid(challenge):
        raise RefusedError("id_malformed", name="challenge_id")
    tried = await phones.try_code(
        uow, UUID(challenge), parameters.get("challenge_secret", ""), parameters.get("code", "")
    )
    if tried.phone is None:
        return RefusedError("challenge_over" if tried.is_over else "phone_code_wrong"), tried.message
    account = await phones.account_with(uow, tried.phone)
    return await _begin(uow, provider, client, account, ["sms"], agent), None


async def _begin(
    uow: UnitOfWork, provider: Provider, client: ClientRow, account: AccountRow, amr: list[str], agent: str
) -> Given:
    if account.state != "active":
        raise RefusedError("account_closed")
    session = await begin_session(uow, account, None, client.client_id, amr, agent)
    return await give(uow, provider, account, None, session)
