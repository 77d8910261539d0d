"""The issuer: from a proof to tokens. Sessions begin, go on by refresh tokens that are good once, and end."""

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
from services.gateway.edge.own_tokens import Issuer, seconds_until
from services.gateway.grants.tables import GrantRow
from services.gateway.grants.use_cases import grants_of
from services.gateway.guardianships.tables import GuardianshipRow
from services.gateway.issuer import rules
from services.gateway.issuer.ending import ACCESS_SECONDS, end_session
from services.gateway.issuer.keys import SigningKeys
from services.gateway.issuer.refusals import RefusedError
from services.gateway.issuer.schemas import Session
from services.gateway.issuer.tables import AuthorizationCodeRow, RefreshTokenRow, SessionRow
from shared.actors import Actor, Role
from shared.ids import new_id
from shared.problems import NotFound
from shared.regions import OUTSIDE
from shared.work import Listed, Page, Work

STAFF_SESSION = timedelta(hours=12)
"""A shift: whoever works on signs in anew (NIST SP 800-63B-4, 2.2.3)."""

RESIDENT_SESSION = timedelta(days=90)
CODE_LIFETIME = timedelta(seconds=60)

REPEAT_GRACE = timedelta(seconds=30)
"""How long a refresh whose answer was lost may be repeated."""

NEXT_REFRESH = text("""
    UPDATE refresh_tokens SET used_at = :now WHERE hash = :hash AND used_at IS NULL
""")
REPEATED = text("""
    SELECT used.used_at
    FROM refresh_tokens AS used, refresh_tokens AS successor
    WHERE used.hash = :hash AND successor.hash = :successor AND successor.used_at IS NULL
""")


@dataclass(frozen=True)
class Provider:
    """What tokens are made with."""

    url: str
    issuer: Issuer
    keys: SigningKeys


@dataclass(frozen=True)
class Given:
    """What a client is given (RFC 6749, 5.1)."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None
    id_token: str | None = None
    scope: str = ""

    def said(self) -> dict[str, Any]:
        """As the token endpoint answers."""
        found = {"access_token": self.access_token, "token_type": "Bearer", "expires_in": self.expires_in}
        more = {"refresh_token": self.refresh_token, "id_token": self.id_token, "scope": self.scope or None}
        return found | {name: value for name, value in more.items() if value is not None}


Answer = Given | RefusedError
"""What is returned is committed: also a refusal that ends a session. What is raised leaves nothing behind."""


async def exchange(work: Work, provider: Provider, client: ClientRow, asked: Mapping[str, str]) -> Answer:
    """A code for tokens, once."""
    row = await work.session.get(AuthorizationCodeRow, digest(asked.get("code", "")), with_for_update=True)
    if row is None or row.asked["client_id"] != client.client_id:
        raise RefusedError("code_unknown")
    if row.session_id is not None:
        await end_session(work, row.session_id, "code_reused")
        trace(work, "code_reused", row.account_id)
        return RefusedError("code_used")
    if work.now >= row.expires_at or asked.get("redirect_uri") != row.asked["redirect_uri"]:
        raise RefusedError("code_expired")
    if not rules.proves(asked.get("code_verifier", ""), row.asked["code_challenge"]):
        raise RefusedError("code_verifier_wrong")
    account = await account_that_holds(work, row.account_id)
    grant = await grant_that_holds(work, client, account, row.grant_id)
    session = await begin_session(work, account, grant, client.client_id, row.amr, row.agent)
    row.session_id = session.id
    given = await give(work, provider, account, grant, session)
    if row.asked["scope"]:
        id_token = _id_token(provider, work, session, row)
        given = replace(given, id_token=id_token, scope=row.asked["scope"])
    return given


async def refresh(work: Work, provider: Provider, client: ClientRow, asked: Mapping[str, str]) -> Answer:
    """A refresh token for new tokens, once. `grant_id` changes the grant one acts in.

    The answer may be lost on the way. For 30 seconds, and only while its successor has not been used, the same token
    sent again is answered with the same successor. A thief who repeats it gets no branch of their own: whoever comes
    second with the successor, later than that, ends the session.
    """
    presented = asked.get("refresh_token", "")
    hash_ = digest(presented)
    row = await work.session.get(RefreshTokenRow, hash_)
    session = None if row is None else await work.session.get(SessionRow, row.session_id, with_for_update=True)
    if session is None or session.client_id != client.client_id:
        raise RefusedError("refresh_token_unknown")
    if session.ended_at is not None or work.now >= session.expires_at:
        raise RefusedError("session_ended")
    trace(work, "refreshed", session.account_id)
    is_first = await work.run(NEXT_REFRESH, hash=hash_, now=work.now) == 1
    successor = _successors(work, presented)[0] if is_first else await _repeated(work, presented)
    if successor is None:
        # Either the owner or a thief comes second, and nobody can tell which.
        await end_session(work, session.id, "refresh_token_reused")
        return RefusedError("refresh_token_used")
    account = await account_that_holds(work, session.account_id)
    wanted = asked.get("grant_id")
    if wanted is not None and not rules.is_uuid(wanted):
        raise RefusedError("id_malformed", name="grant_id")
    grant = await grant_that_holds(work, client, account, UUID(wanted) if wanted else session.grant_id)
    session.used_at = work.now
    if grant is not None:
        session.grant_id, session.region = grant.id, grant.region
    if is_first:
        work.session.add(RefreshTokenRow(hash=digest(successor), session_id=session.id))
    return replace(await access_token(work, provider, account, grant, session), refresh_token=successor)


def _successors(work: Work, presented: str) -> list[str]:
    """The refresh token that follows another: always the same, and known to nobody without the installation's key.

    While that key is rotated there are two, of which the first is given.
    """
    made = work.house.keyring.indexes("refresh_token", presented)
    return [urlsafe_b64encode(one).rstrip(b"=").decode() for one in made]


async def _repeated(work: Work, presented: str) -> str | None:
    """The successor of a used refresh token, if it may be given once more: soon after, and not used yet."""
    for successor in _successors(work, presented):
        rows = await work.rows(REPEATED, hash=digest(presented), successor=digest(successor))
        if rows and work.now <= rows[0]["used_at"] + REPEAT_GRACE:
            return successor
    return None


async def begin_session(
    work: Work, account: AccountRow, grant: GrantRow | None, client_id: str, amr: list[str], agent: str
) -> SessionRow:
    """Somebody has signed in."""
    session = SessionRow(
        region=OUTSIDE if grant is None else grant.region,
        account_id=account.id,
        grant_id=None if grant is None else grant.id,
        client_id=client_id,
        amr=amr,
        agent=agent,
        used_at=work.now,
        expires_at=work.now + (RESIDENT_SESSION if account.kind == "resident" else STAFF_SESSION),
    )
    work.add(session)
    await work.session.flush()
    trace(work, "signed_in", account.id)
    return session


async def give(
    work: Work, provider: Provider, account: AccountRow, grant: GrantRow | None, session: SessionRow
) -> Given:
    """An access token and the first refresh token of a session."""
    secret = new_secret()
    work.session.add(RefreshTokenRow(hash=digest(secret), session_id=session.id))
    await work.session.flush()
    return replace(await access_token(work, provider, account, grant, session), refresh_token=secret)


async def access_token(
    work: Work, provider: Provider, account: AccountRow, grant: GrantRow | None, session: SessionRow
) -> Given:
    """An access token, which never outlives grant or session."""
    seconds = seconds_until(session.expires_at, ACCESS_SECONDS)
    if grant is None:
        residents = await _acts_for(work, account.resident_id)
        actor, region = Actor(account.subject, Role.RESIDENT, residents=residents), None
    else:
        actor, region = grant.actor(account.subject), grant.region
        seconds = seconds_until(grant.valid_until, seconds)
    return Given(provider.issuer.issue(actor, region, seconds, session.id), seconds)


async def _acts_for(work: Work, resident_id: UUID | None) -> tuple[UUID, ...]:
    """The resident, and those whose guardian they are."""
    if resident_id is None:
        return ()
    asked = select(GuardianshipRow.dependant_id).where(GuardianshipRow.guardian_id == resident_id)
    return (resident_id, *(await work.session.scalars(asked.order_by(GuardianshipRow.id))))


def machine_token(provider: Provider, client: ClientRow) -> Given:
    """A machine's token: what it may do was declared when it was registered."""
    token = provider.issuer.issue(client.actor(), client.region, ACCESS_SECONDS, client.id)
    return Given(token, ACCESS_SECONDS)


async def revoke(work: Work, provider: Provider, client: ClientRow, token: str) -> None:
    """End the session of a token (RFC 7009). One that is not the client's, or not known, changes nothing."""
    row = await work.session.get(RefreshTokenRow, digest(token))
    session_id = row.session_id if row is not None else provider.issuer.session_of(token)
    session = None if session_id is None else await work.session.get(SessionRow, session_id, with_for_update=True)
    if session is not None and session.client_id == client.client_id:
        await end_session(work, session.id, "revoked")
        trace(work, "signed_out", session.account_id)


async def new_authorization_code(
    work: Work, asked: Mapping[str, Any], account: AccountRow, grant: GrantRow | None, amr: list[str], agent: str
) -> str:
    """A code for the client a person has signed in through: a minute to exchange it."""
    code = new_secret()
    row = AuthorizationCodeRow(
        hash=digest(code),
        asked=dict(asked),
        account_id=account.id,
        grant_id=None if grant is None else grant.id,
        amr=amr,
        agent=agent,
        proved_at=work.now,
        expires_at=work.now + CODE_LIFETIME,
    )
    work.session.add(row)
    await work.session.flush()
    return code


async def account_that_holds(work: Work, account_id: UUID) -> AccountRow:
    account = await work.session.get(AccountRow, account_id)
    if account is None or account.state != "active":
        raise RefusedError("account_closed")
    return account


async def grant_that_holds(
    work: Work, client: ClientRow, account: AccountRow, grant_id: UUID | None
) -> GrantRow | None:
    """The grant somebody acts in; none for residents."""
    if account.kind == "resident":
        return None
    for grant in await grants_of(work, account.id):
        if grant.id == grant_id and client.serves(grant.region):
            return grant
    raise RefusedError("grant_ended")


def _id_token(provider: Provider, work: Work, session: SessionRow, row: AuthorizationCodeRow) -> str:
    now = int(work.now.timestamp())
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


# What owners see and end --------------------------------------------------------------------------------------------


async def list_sessions(work: Work, account_id: UUID | None, page: Page) -> Listed[Session]:
    asked = select(SessionRow).where(
        SessionRow.account_id == (account_id or new_id()),
        SessionRow.ended_at.is_(None),
        SessionRow.expires_at > work.now,
    )
    return await work.page(asked, page, SessionRow.public)


async def end_own_session(work: Work, account_id: UUID | None, session_id: UUID) -> None:
    session = await work.session.get(SessionRow, session_id)
    if session is None or account_id is None or session.account_id != account_id:
        raise NotFound()
    await end_session(work, session.id, "signed_out")
    trace(work, "signed_out", session.account_id)
