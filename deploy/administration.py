"""Tasks of the operator, with a shell on the machine: the link for the first administrator, and clients."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deploy.own_servers import as_role
from deploy.trouble import Trouble
from services.gateway.accounts.rules import LINK_LIFETIME, digest, new_secret
from services.gateway.clients import rules
from services.gateway.clients.schemas import ROLES, NewClient
from shared.core.actors import Role
from shared.core.ids import new_id
from shared.problems import Invalid

T = TypeVar("T")

HAS_ADMINISTRATOR = "SELECT EXISTS (SELECT FROM gateway.grants WHERE role = 'command' AND state = 'active')"
HAS_POINT = """
    SELECT EXISTS (SELECT FROM gateway.points WHERE id = $1 AND closed_at IS NULL AND starts_with(region, $2))
"""
ADD_CLIENT = """
    INSERT INTO gateway.clients
        (id, region, client_id, kind, name, people, redirect_uris, role, party, secrets, public_keys)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '[]')
"""
LIST_CLIENTS = """
    SELECT
        client_id, name, kind, CASE kind WHEN 'app' THEN people ELSE '' END AS people, coalesce(role, '') AS role,
        party, region, (SELECT string_agg(uri, ' ') FROM jsonb_array_elements_text(redirect_uris) AS uri) AS redirects,
        revoked_at
    FROM gateway.clients ORDER BY client_id
"""
REVOKE_CLIENT = """
    WITH revoked AS (
        UPDATE gateway.clients SET revoked_at = coalesce(revoked_at, now()), version = version + 1
        WHERE client_id = $1 RETURNING id
    )
    INSERT INTO gateway.endings AS kept (id, at) SELECT id, now() + interval '10 minutes' FROM revoked
    ON CONFLICT (id) DO UPDATE SET at = greatest(kept.at, excluded.at)
"""
RECORD_IN_AUDIT = """
    INSERT INTO gateway.audit (
        epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects
    )
    SELECT
        (SELECT max(epoch) FROM gateway.feed_epochs), 'keys', $2, 'clients', 'operator', 'owner', '', '~', '', '', '',
        ARRAY[id]
    FROM gateway.clients WHERE client_id = $1
"""


def first_link(owner_url: str, issuer_url: str) -> str | None:
    """Create the link for the first administrator. Returns None if there is a commander already."""

    async def run(owner: asyncpg.Connection) -> str | None:
        if await owner.fetchval(HAS_ADMINISTRATOR):
            return None
        secret = new_secret()
        await owner.execute("DELETE FROM gateway.links WHERE account_id IS NULL")
        values = new_id(), digest(secret), datetime.now(UTC) + LINK_LIFETIME
        await owner.execute("INSERT INTO gateway.links (id, hash, expires_at) VALUES ($1, $2, $3)", *values)
        return f"{issuer_url}/sign-in/link/{secret}"

    return _as_owner(owner_url, run)


def add_client(owner_url: str, **given: Any) -> str | None:
    """Register a client. Returns its secret if it is a machine."""
    if given["kind"] == "machine" and given["role"] not in ROLES:
        raise Trouble(f"No machine has the role {given['role']}. Choose one of: {', '.join(ROLES)}.")
    try:
        new = NewClient(**given)
    except ValidationError as error:
        faults = "; ".join(map(_in_words, error.errors(include_url=False)))
        raise Trouble(f"The client cannot be registered: {faults}.") from None
    secret = new_secret() if new.kind == "machine" else None
    secrets = [] if secret is None else rules.with_new([], digest(secret), datetime.now(UTC))

    async def run(owner: asyncpg.Connection) -> None:
        is_door = new.as_role is not None and new.as_role in Role.DOOR
        if is_door and not await owner.fetchval(HAS_POINT, UUID(new.party), new.region):
            raise Trouble(
                f"There is no open service point {new.party} in the region. The party of a {new.role} is the id of a "
                "service point. `GET /gateway/v1/service-points` lists them."
            )
        redirects = json.dumps(new.redirect_uris)
        columns = new.region, new.client_id, new.kind, new.name, new.people, redirects, new.role, new.party
        values = *columns, json.dumps(secrets)
        try:
            await owner.execute(ADD_CLIENT, new_id(), *values)
        except asyncpg.UniqueViolationError:
            raise Trouble(f"A client {new.client_id} already exists.") from None
        await owner.execute(RECORD_IN_AUDIT, new.client_id, "clients add")

    _as_owner(owner_url, run)
    return secret


OPTIONS = {"redirect_uris": "--redirect", "people": "--for", "client_id": "CLIENT_ID"}
"""The command's names for members of `NewClient`, if different from `--member`."""

PATTERNS = {
    "client_id": "3 to 100 lower-case letters, digits, `.`, `_`, `-`, for example lab-1",
    "region": "2 to 16 digits, for example 350582005, or nothing for all regions",
}


def _in_words(error: ErrorDetails) -> str:
    member = str(error["loc"][0]) if error["loc"] else ""
    invalid = error.get("ctx", {}).get("error")
    message = (
        invalid.text.render("en", invalid.values)
        if isinstance(invalid, Invalid)
        else PATTERNS.get(member, error["msg"])
    )
    option = OPTIONS.get(member, f"--{member}") if member else ""
    given = f" {error['input']!r}" if member in PATTERNS else ""
    return f"{option}{given}: {message}" if option else message


def rotate_client(owner_url: str, client_id: str) -> str:
    """Create a new secret for a machine. The previous one stays valid for a day."""
    secret = new_secret()

    async def run(owner: asyncpg.Connection) -> None:
        query = "SELECT secrets FROM gateway.clients WHERE client_id = $1 AND kind = 'machine' AND revoked_at IS NULL"
        current = await owner.fetchval(f"{query} FOR UPDATE", client_id)
        if current is None:
            raise Trouble(f"There is no machine {client_id} that may sign in.")
        secrets = json.dumps(rules.with_new(json.loads(current), digest(secret), datetime.now(UTC)))
        change = "UPDATE gateway.clients SET secrets = $2, version = version + 1 WHERE client_id = $1"
        await owner.execute(change, client_id, secrets)
        await owner.execute(RECORD_IN_AUDIT, client_id, "clients rotate")

    _as_owner(owner_url, run)
    return secret


def revoke_client(owner_url: str, client_id: str) -> None:
    """Revoke a client, so that it cannot sign in any more."""

    async def run(owner: asyncpg.Connection) -> None:
        if await owner.execute(REVOKE_CLIENT, client_id) == "INSERT 0 0":
            raise Trouble(f"There is no client {client_id}.")
        await owner.execute(RECORD_IN_AUDIT, client_id, "clients revoke")

    _as_owner(owner_url, run)


def list_clients(owner_url: str) -> list[tuple[str, ...]]:
    """Return all clients as rows of a table."""

    async def run(owner: asyncpg.Connection) -> list[Any]:
        clients: list[Any] = await owner.fetch(LIST_CLIENTS)
        return clients

    rows = _as_owner(owner_url, run)
    return [tuple(str(value or "") for value in row.values()) for row in rows]


def _as_owner(owner_url: str, run: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async def connected() -> T:
        owner = await asyncpg.connect(as_role(owner_url))
        try:
            async with owner.transaction():
                return await run(owner)
        finally:
            await owner.close()

    return asyncio.run(connected())
