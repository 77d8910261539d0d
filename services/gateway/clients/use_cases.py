"""Clients: registered by command within its range, known by their secret or their key."""

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
from shared.actors import Role
from shared.problems import Problem, Text
from shared.regions import covers
from shared.work import Listed, Page, Work

FEW_APPS = 10
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientTaken(Problem):
    """There is a client of this id already, or was."""

    status = 409
    code = "client_taken"
    title = Text(zh="该 client_id 已登记", en="This client_id is already registered")
    fix = Text(
        zh="请换一个 client_id；更换密钥请用 rotate", en="Choose another client_id; for a new secret, use rotate"
    )


class PartyEverywhere(Problem):
    """The name of a laboratory, a hospital or a desk opens what is theirs in every region."""

    status = 403
    code = "party_everywhere"
    title = Text(
        zh="检测机构、医院、120 等单位在全系统通用",
        en="Laboratories, hospitals, the 120 desk and city systems are valid in all regions",
    )
    fix = Text(zh="请由管辖全系统的指挥人员登记", en="Ask a commander of the whole installation to register it")


class ClientRevoked(Problem):
    """It is no client any more."""

    status = 409
    code = "client_revoked"
    title = Text(zh="该客户端已撤销", en="This client has been revoked")
    fix = Text(zh="请登记新的客户端", en="Register a new client")


class PublicKeyInvalid(Problem):
    """A public key cannot be used to check an assertion."""

    status = 422
    code = "public_key_invalid"
    title = Text(zh="公钥不可用", en="A public key cannot be used")
    fix = Text(
        zh="请提供 P-256、Ed25519 或 RSA 2048 位以上的公开 JWK，不含私钥；kid 和 alg 可省略，有 alg 时须与密钥相符",
        en="Give public JWKs: P-256, Ed25519, or RSA of 2048 bits and more, without the private part; kid and alg may "
        "be left out, and an alg must fit its key",
    )


async def add_client(work: Work, new: NewClient) -> ClientMade:
    work.require_within(new.region)
    if new.role is not None and Role.named(new.role) in Role.MACHINE:
        require_whole(work)
    elif new.role is not None:
        await require_point(work, new.party, new.region)
    row, secret = made_of(new, work)
    work.add(row)
    await work.session.flush()
    work.saw([row.id])
    return ClientMade(**row.public().model_dump(), client_secret=secret)


def require_whole(work: Work) -> None:
    """Raise PartyEverywhere unless the caller commands all that this installation serves."""
    if not covers(work.actor.range, work.house.settings.region):
        raise PartyEverywhere(at="/party")


def made_of(new: NewClient, work: Work) -> tuple[ClientRow, str | None]:
    """A new client, and its secret if it is a machine."""
    for place, key in enumerate(new.public_keys):
        if not assertions.is_usable(key):
            raise PublicKeyInvalid(at=f"/public_keys/{place}")
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
        secrets=[] if secret is None else rules.with_new([], digest(secret), work.now),
        public_keys=[dict(key) for key in new.public_keys],
    )
    return row, secret


async def list_clients(work: Work, page: Page) -> Listed[Client]:
    return await work.page(select(ClientRow), page, ClientRow.public)


async def get_client(work: Work, client_id: UUID) -> Client:
    return (await work.get(ClientRow, client_id)).public()


async def rotate_client(work: Work, client_id: UUID) -> ClientMade:
    row = await work.lock(ClientRow, client_id)
    if row.revoked_at is not None or row.kind != "machine":
        raise ClientRevoked()
    secret = new_secret()
    row.secrets = rules.with_new(row.secrets, digest(secret), work.now)
    await work.session.flush()
    work.saw([row.id])
    return ClientMade(**row.public().model_dump(), client_secret=secret)


async def revoke_client(work: Work, client_id: UUID) -> Client:
    """It signs in no more, nobody signs in through it, and a machine's tokens stop working within a second."""
    row = await work.lock(ClientRow, client_id)
    row.revoked_at = row.revoked_at or work.now
    await work.session.flush()
    await end_tokens(work, row.id, for_good=True)
    work.saw([row.id])
    return row.public()


async def client_named(work: Work, client_id: str) -> ClientRow | None:
    """The client of a name, if it may still sign in."""
    asked = select(ClientRow).where(ClientRow.client_id == client_id, ClientRow.revoked_at.is_(None))
    return (await work.session.scalars(asked)).one_or_none()


async def apps_there_are(work: Work) -> Sequence[ClientRow]:
    """The applications people can sign in to, a few of them."""
    asked = select(ClientRow).where(
        ClientRow.kind == "app", ClientRow.revoked_at.is_(None), func.jsonb_array_length(ClientRow.redirect_uris) > 0
    )
    return (await work.session.scalars(asked.order_by(ClientRow.client_id).limit(FEW_APPS))).all()


def has_secret(client: ClientRow | None, secret: str, work: Work) -> bool:
    """Whether a secret is one of the client's."""
    given = digest(secret)
    hashes = [] if client is None else rules.valid_hashes(client.secrets, work.now)
    return any(hmac.compare_digest(given, kept) for kept in hashes)


async def check_assertion(work: Work, client: ClientRow, assertion: str, audiences: set[str]) -> int:
    """Take an assertion (RFC 7523) of a client, once. Seconds to wait if it takes too many. Raises UnprovenError."""
    claims = assertions.verified(assertion, client.public_keys, client.client_id, audiences, work.now.timestamp())
    # Its jti would do, if all clients made good ones; the signed text as a whole does in any case.
    kept_until = float(claims["exp"]) + assertions.SKEW_SECONDS
    values = {
        "hash": digest(assertion.rsplit(".", 1)[0]),
        "expires_at": datetime.fromtimestamp(kept_until, UTC),
    }
    if await work.run(insert(AssertionRow).values(values).on_conflict_do_nothing()) != 1:
        raise UnprovenError("assertion_replayed")
    return await attempts.take(work, assertion_lanes(client.client_id))
