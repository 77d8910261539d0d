"""Use cases of clients. Command registers clients in its region; machines authenticate with a secret or a key."""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from services.gateway.accounts import attempts
from services.gateway.accounts.rules import assertion_lanes, digest, new_secret
from services.gateway.clients import assertions, rules
from services.gateway.clients.assertions import UnprovenError
from services.gateway.clients.schemas import Client, ClientMade, NewClient
from services.gateway.clients.tables import AssertionRow, ClientRow
from services.gateway.issuer.ending import end_tokens
from services.gateway.parties.use_cases import require_point
from shared.core.actors import Role
from shared.core.regions import covers
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import LocalizedText, Problem

FEW_APPS = 10
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientTaken(Problem):
    """A client with this client_id is or was registered."""

    status = 409
    code = "client_taken"
    title = LocalizedText(zh="该 client_id 已登记", en="This client_id is already registered")
    fix = LocalizedText(
        zh="请换一个 client_id；如需更换密钥，请使用 rotate",
        en="Choose another client_id. If you need a new secret, use rotate",
    )


class PartyEverywhere(Problem):
    """A party name of a laboratory, hospital or 120 desk gives access to its data in every region."""

    status = 403
    code = "party_everywhere"
    title = LocalizedText(
        zh="检测机构、医院、120 等单位的登记在全系统有效",
        en="Laboratories, hospitals, the 120 desk and city systems are registered for all regions",
    )
    fix = LocalizedText(
        zh="请由管辖全部区域的指挥人员登记", en="Ask a commander of the whole installation to register it"
    )


class ClientRevoked(Problem):
    """The client is revoked, or it is an app, which has no secret."""

    status = 409
    code = "client_revoked"
    title = LocalizedText(zh="该客户端已撤销", en="This client has been revoked")
    fix = LocalizedText(zh="请登记新的客户端", en="Register a new client")


class PublicKeyInvalid(Problem):
    """A public key cannot be used to check an assertion."""

    status = 422
    code = "public_key_invalid"
    title = LocalizedText(zh="公钥不可用", en="A public key cannot be used")
    fix = LocalizedText(
        zh="请提供 P-256、Ed25519 或 2048 位以上 RSA 的公钥 JWK，不含私钥；kid 和 alg 可省略，填写 alg 时须与密钥相符",
        en="Use public JWKs of type P-256, Ed25519 or RSA with at least 2048 bits, without the private part. kid and "
        "alg are optional; alg must match the key",
    )


async def add_client(uow: UnitOfWork, new: NewClient) -> ClientMade:
    """Register a client. Raises RegionOutside, ClientTaken, PartyEverywhere, PartyNoPoint or PublicKeyInvalid."""
    uow.require_within(new.region)
    if new.role is not None and Role.named(new.role) in Role.MACHINE:
        require_whole(uow)
    elif new.role is not None:
        await require_point(uow, new.party, new.region)
    row, secret = made_of(new, uow)
    uow.add(row)
    await uow.session.flush()
    uow.record_access([row.id])
    return ClientMade(**row.public().model_dump(), client_secret=secret)


def require_whole(uow: UnitOfWork) -> None:
    """Check that the caller's region covers the whole installation. Raises PartyEverywhere."""
    if not covers(uow.actor.range, uow.context.settings.region):
        raise PartyEverywhere(at="/party")


def made_of(new: NewClient, uow: UnitOfWork) -> tuple[ClientRow, str | None]:
    """Return the row of a new client, and its secret if it is a machine."""
    for index, key in enumerate(new.public_keys):
        if not assertions.is_usable(key):
            raise PublicKeyInvalid(at=f"/public_keys/{index}")
    secret = new_secret() if new.kind == "machine" else None
    row = ClientRow(
        region=new.region,
        client_id=new.client_id,
        kind=new.kind,
        name=new.name,
        people=new.people,
        redirect_uris=list(new.redirect_uris),
        role=new.role,
        party=new.party,
        secrets=[] if secret is None else rules.with_new([], digest(secret), uow.now),
        public_keys=[dict(key) for key in new.public_keys],
    )
    return row, secret


async def list_clients(uow: UnitOfWork, page: Page) -> Listed[Client]:
    """List the clients that the caller may see."""
    return await uow.page(select(ClientRow), page, ClientRow.public)


async def get_client(uow: UnitOfWork, client_id: UUID) -> Client:
    """Return one client. Raises NotFound."""
    return (await uow.get(ClientRow, client_id)).public()


async def rotate_client(uow: UnitOfWork, client_id: UUID) -> ClientMade:
    """Create a new secret for a machine. The old one stays valid for a day. Raises ClientRevoked."""
    row = await uow.lock(ClientRow, client_id)
    if row.revoked_at is not None or row.kind != "machine":
        raise ClientRevoked()
    secret = new_secret()
    row.secrets = rules.with_new(row.secrets, digest(secret), uow.now)
    await uow.session.flush()
    uow.record_access([row.id])
    return ClientMade(**row.public().model_dump(), client_secret=secret)


async def revoke_client(uow: UnitOfWork, client_id: UUID) -> Client:
    """Revoke a client: nobody can sign in through it, and the tokens of a machine stop working within a second."""
    row = await uow.lock(ClientRow, client_id)
    row.revoked_at = row.revoked_at or uow.now
    await uow.session.flush()
    await end_tokens(uow, row.id, for_good=True)
    uow.record_access([row.id])
    return row.public()


async def client_named(uow: UnitOfWork, client_id: str) -> ClientRow | None:
    """Return the client of a client_id, unless it is revoked."""
    query = select(ClientRow).where(ClientRow.client_id == client_id, ClientRow.revoked_at.is_(None))
    return (await uow.session.scalars(query)).one_or_none()


async def apps_there_are(uow: UnitOfWork) -> Sequence[ClientRow]:
    """Return the first few apps in which people can sign in."""
    query = select(ClientRow).where(
        ClientRow.kind == "app", ClientRow.revoked_at.is_(None), func.jsonb_array_length(ClientRow.redirect_uris) > 0
    )
    return (await uow.session.scalars(query.order_by(ClientRow.client_id).limit(FEW_APPS))).all()


def has_secret(client: ClientRow | None, secret: str, uow: UnitOfWork) -> bool:
    """Whether a secret is one of the valid secrets of the client."""
    given = digest(secret)
    hashes = [] if client is None else rules.valid_hashes(client.secrets, uow.now)
    return any(hmac.compare_digest(given, stored) for stored in hashes)


async def check_assertion(uow: UnitOfWork, client: ClientRow, assertion: str, audiences: set[str]) -> int:
    """Verify an assertion (RFC 7523) and mark it as used. Returns the seconds to wait if the client sends too many.

    Raises UnprovenError.
    """
    claims = assertions.verified(assertion, client.public_keys, client.client_id, audiences, uow.now.timestamp())
    # Store the hash of the whole signed text, because not every client makes a unique jti.
    kept_until = float(claims["exp"]) + assertions.SKEW_SECONDS
    values = {
        "hash": digest(assertion.rsplit(".", 1)[0]),
        "expires_at": datetime.fromtimestamp(kept_until, UTC),
    }
    if await uow.run(insert(AssertionRow).values(values).on_conflict_do_nothing()) != 1:
        raise UnprovenError("assertion_replayed")
    return await attempts.take(uow, assertion_lanes(client.client_id))
