"""Use cases of the issuer: exchange proofs for tokens, and begin, refresh and end sessions."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from services.gateway.accounts.rules import digest, new_secret
from services.gateway.accounts.tables import AccountRow
from services.gateway.accounts.traces import trace
from services.gateway.clients.tables import ClientRow
from services.gateway.edge.internal_tokens import Issuer, seconds_until
from services.gateway.grants.tables import GrantRow
from services.gateway.grants.use_cases import grants_of
from services.gateway.guardianships.tables import GuardianshipRow
from services.gateway.issuer import rules
from services.gateway.issuer.ending import ACCESS_SECONDS, end_session
from services.gateway.issuer.keys import SigningKeys
from services.gateway.issuer.refusals import RefusedError
from services.gateway.issuer.schemas import Session
from services.gateway.issuer.tables import AuthorizationCodeRow, RefreshTokenRow, SessionRow
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import OUTSIDE
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import NotFound

STAFF_SESSION = timedelta(hours=12)
"""One shift. After that staff sign in again (NIST SP 800-63B-4, 2.2.3)."""

RESIDENT_SESSION = timedelta(days=90)
CODE_LIFETIME = timedelta(seconds=60)

REPEAT_GRACE = timedelta(seconds=30)
"""How long a refresh may be repeated, because its answer can get lost."""

MARK_REFRESH_TOKEN_USED = text("""
    UPDATE refresh_tokens SET used_at = :now WHERE hash = :hash AND used_at IS NULL
""")
SELECT_UNUSED_SUCCESSOR = text("""
    SELECT used.used_at
    FROM refresh_tokens AS used, refresh_tokens AS successor
    WHERE used.hash = :hash AND successor.hash = :successor AND successor.used_at IS NULL
""")


@dataclass(frozen=True)
class Provider:
    """What is needed to issue tokens."""

    url: str
    issuer: Issuer
    keys: SigningKeys


@dataclass(frozen=True)
class Given:
    """A successful token response (RFC 6749, 5.1)."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None
    id_token: str | None = None
    scope: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the body of the response."""
        payload = {"access_token": self.access_token, "token_type": "Bearer", "expires_in": self.expires_in}
        optional = {"refresh_token": self.refresh_token, "id_token": self.id_token, "scope": self.scope or None}
        return payload | {name: value for name, value in optional.items() if value is not None}


Answer = Given | RefusedError
"""A returned refusal is committed, for example one that ends a session. A raised one is rolled back."""


async def exchange(uow: UnitOfWork, provider: Provider, client: ClientRow, parameters: Mapping[str, str]) -> Answer:
    """Exchange an authorization code for tokens. A code that is used twice ends its session."""
    row = await uow.session.get(AuthorizationCodeRow, digest(parameters.get("code", "")), with_for_update=True)
    if row is None or row.asked["client_id"] != client.client_id:
        raise RefusedError("code_unknown")
    if row.session_id is not None:
        await end_session(uow, row.session_id, "code_reused")
        trace(uow, "code_reused", row.account_id)
        return RefusedError("code_used")
    if uow.now >= row.expires_at or parameters.get("redirect_uri") != row.asked["redirect_uri"]:
        raise RefusedError("code_expired")
    if not rules.proves(parameters.get("code_verifier", ""), row.asked["code_challenge"]):
        raise RefusedError("code_verifier_wrong")
    account = await account_that_holds(uow, row.account_id)
    grant = await grant_that_holds(uow, client, account, row.grant_id)
    session = await begin_session(uow, account, grant, client.client_id, row.amr, row.agent)
    row.session_id = session.id
    given = await give(uow, provider, account, grant, session)
    if row.asked["scope"]:
        id_token = _id_token(provider, uow, session, row)
        given = replace(given, id_token=id_token, scope=row.asked["scope"])
    return given


async def refresh(uow: UnitOfWork, provider: Provider, client: ClientRow, parameters: Mapping[str, str]) -> Answer:
    """Exchange a refresh token for new tokens, once. `grant_id` changes the grant of the session.

    The answer may get lost. So for 30 seconds, and while the successor is unused, the same token gets the same
    successor again. A thief who repeats it gets no separate chain of tokens: the second use of the successor after
    that time ends the session.
    """
    presented = parameters.get("refresh_token", "")
    hash_ = digest(presented)
    row = await uow.session.get(RefreshTokenRow, hash_)
    session = None if row is None else await uow.session.get(SessionRow, row.session_id, with_for_update=True)
    if session is None or session.client_id != client.client_id:
        raise RefusedError("refresh_token_unknown")
    if session.ended_at is not None or uow.now >= session.expires_at:
        raise RefusedError("session_ended")
    trace(uow, "refreshed", session.account_id)
    is_first = await uow.run(MARK_REFRESH_TOKEN_USED, hash=hash_, now=uow.now) == 1
    successor = _successors(uow, presented)[0] if is_first else await _repeated(uow, presented)
    if successor is None:
        # Either the owner or a thief uses the token a second time. They cannot be distinguished.
        await end_session(uow, session.id, "refresh_token_reused")
        return RefusedError("refresh_token_used")
    account = await account_that_holds(uow, session.account_id)
    wanted = parameters.get("grant_id")
    if wanted is not None and not rules.is_uuid(wanted):
        raise RefusedError("id_malformed", name="grant_id")
    grant = await grant_that_holds(uow, client, account, UUID(wanted) if wanted else session.grant_id)
    session.used_at = uow.now
    if grant is not None:
        session.grant_id, session.region = grant.id, grant.region
    if is_first:
        uow.session.add(RefreshTokenRow(hash=digest(successor), session_id=session.id))
    return replace(await access_token(uow, provider, account, grant, session), refresh_token=successor)


def _successors(uow: UnitOfWork, presented: str) -> list[str]:
    """Return the successors of a refresh token. They are derived with the installation's key, so always the same.

    While that key is rotated there are two; the first one is issued.
    """
    derived = uow.context.keyring.indexes("refresh_token", presented)
    return [urlsafe_b64encode(one).rstrip(b"=").decode() for one in derived]


async def _repeated(uow: UnitOfWork, presented: str) -> str | None:
    """Return the successor of a used refresh token, if the repetition is in time and the successor is unused."""
    for successor in _successors(uow, presented):
        rows = await uow.rows(SELECT_UNUSED_SUCCESSOR, hash=digest(presented), successor=digest(successor))
        if rows and uow.now <= rows[0]["used_at"] + REPEAT_GRACE:
            return successor
    return None


async def begin_session(
    uow: UnitOfWork, account: AccountRow, grant: GrantRow | None, client_id: str, amr: list[str], agent: str
) -> SessionRow:
    """Create a session for a person who signed in."""
    session = SessionRow(
        region=OUTSIDE if grant is None else grant.region,
        account_id=account.id,
        grant_id=None if grant is None else grant.id,
        client_id=client_id,
        amr=amr,
        agent=agent,
        used_at=uow.now,
        expires_at=uow.now + (RESIDENT_SESSION if account.kind == "resident" else STAFF_SESSION),
    )
    uow.add(session)
    await uow.session.flush()
    trace(uow, "signed_in", account.id)
    return session


async def give(
    uow: UnitOfWork, provider: Provider, account: AccountRow, grant: GrantRow | None, session: SessionRow
) -> Given:
    """Issue an access token and the first refresh token of a session."""
    secret = new_secret()
    uow.session.add(RefreshTokenRow(hash=digest(secret), session_id=session.id))
    await uow.session.flush()
    return replace(await access_token(uow, provider, account, grant, session), refresh_token=secret)


async def access_token(
    uow: UnitOfWork, provider: Provider, account: AccountRow, grant: GrantRow | None, session: SessionRow
) -> Given:
    """Issue an access token. It expires not later than the grant and the session."""
    seconds = seconds_until(session.expires_at, ACCESS_SECONDS)
    if grant is None:
        residents = await _acts_for(uow, account.resident_id)
        actor, region = Actor(account.subject, Role.RESIDENT, residents=residents), None
    else:
        actor, region = grant.actor(account.subject), grant.region
        seconds = seconds_until(grant.valid_until, seconds)
    return Given(provider.issuer.issue(actor, region, seconds, session.id), seconds)


async def _acts_for(uow: UnitOfWork, resident_id: UUID | None) -> tuple[UUID, ...]:
    """Return the resident and their dependants."""
    if resident_id is None:
        return ()
    query = select(GuardianshipRow.dependant_id).where(GuardianshipRow.guardian_id == resident_id)
    return (resident_id, *(await uow.session.scalars(query.order_by(GuardianshipRow.id))))


def machine_token(provider: Provider, client: ClientRow) -> Given:
    """Issue a token of a machine, with the role, party and region of its registration."""
    token = provider.issuer.issue(client.actor(), client.region, ACCESS_SECONDS, client.id)
    return Given(token, ACCESS_SECONDS)


async def revoke(uow: UnitOfWork, provider: Provider, client: ClientRow, token: str) -> None:
    """End the session of a token (RFC 7009). An unknown token or one of another client changes nothing."""
    row = await uow.session.get(RefreshTokenRow, digest(token))
    session_id = row.session_id if row is not None else provider.issuer.session_of(token)
    session = None if session_id is None else await uow.session.get(SessionRow, session_id, with_for_update=True)
    if session is not None and session.client_id == client.client_id:
        await end_session(uow, session.id, "revoked")
        trace(uow, "signed_out", session.account_id)


async def new_authorization_code(
    uow: UnitOfWork,
    parameters: Mapping[str, Any],
    account: AccountRow,
    grant: GrantRow | None,
    amr: list[str],
    agent: str,
) -> str:
    """Create an authorization code for the client. It is valid for one minute."""
    code = new_secret()
    row = AuthorizationCodeRow(
        hash=digest(code),
        asked=dict(parameters),
        account_id=account.id,
        grant_id=None if grant is None else grant.id,
        amr=amr,
        agent=agent,
        proved_at=uow.now,
        expires_at=uow.now + CODE_LIFETIME,
    )
    uow.session.add(row)
    await uow.session.flush()
    return code


async def account_that_holds(uow: UnitOfWork, account_id: UUID) -> AccountRow:
    """Return an active account. Raises RefusedError if it is closed."""
    account = await uow.session.get(AccountRow, account_id)
    if account is None or account.state != "active":
        raise RefusedError("account_closed")
    return account


async def grant_that_holds(
    uow: UnitOfWork, client: ClientRow, account: AccountRow, grant_id: UUID | None
) -> GrantRow | None:
    """Return the grant of a session if it is still valid; None for residents. Raises RefusedError."""
    if account.kind == "resident":
        return None
    for grant in await grants_of(uow, account.id):
        if grant.id == grant_id and client.serves(grant.region):
            return grant
    raise RefusedError("grant_ended")


def _id_token(provider: Provider, uow: UnitOfWork, session: SessionRow, row: AuthorizationCodeRow) -> str:
    now = int(uow.now.timestamp())
    claims = {
        "iss": provider.url,
        "sub": str(session.account_id),
        "aud": session.client_id,
        "iat": now,
        "exp": now + ACCESS_SECONDS,
        "auth_time": int(row.proved_at.timestamp()),
        "amr": row.amr,
        "sid": str(session.id),
    }
    nonce = row.asked.get("nonce")
    return provider.keys.sign(claims if nonce is None else {**claims, "nonce": nonce})


# Sessions of their owners -------------------------------------------------------------------------------------------


async def list_sessions(uow: UnitOfWork, account_id: UUID | None, page: Page) -> Listed[Session]:
    """List the active sessions of an account."""
    query = select(SessionRow).where(
        SessionRow.account_id == (account_id or new_id()),
        SessionRow.ended_at.is_(None),
        SessionRow.expires_at > uow.now,
    )
    return await uow.page(query, page, SessionRow.public)


async def end_own_session(uow: UnitOfWork, account_id: UUID | None, session_id: UUID) -> None:
    """End a session of an account. Raises NotFound if it belongs to another account."""
    session = await uow.session.get(SessionRow, session_id)
    if session is None or account_id is None or session.account_id != account_id:
        raise NotFound()
    await end_session(uow, session.id, "signed_out")
    trace(uow, "signed_out", session.account_id)
