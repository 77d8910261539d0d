"""Sign-in on a device without a browser, such as a shell on a server (RFC 8628).

The device shows a code. Its owner enters the code on a sign-in page in any browser and signs in there. The device polls
every few seconds and then gets its tokens. `fangxian sign-in` is such a device.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from services.gateway.accounts import attempts
from services.gateway.accounts import rules as proofs
from services.gateway.accounts.rules import digest
from services.gateway.accounts.tables import AccountRow
from services.gateway.clients.tables import ClientRow
from services.gateway.grants.tables import GrantRow
from services.gateway.issuer import rules
from services.gateway.issuer.refusals import RefusedError
from services.gateway.issuer.tables import DeviceAuthorizationRow
from services.gateway.issuer.use_cases import (
    Answer,
    Provider,
    account_that_holds,
    begin_session,
    give,
    grant_that_holds,
)
from shared.core.ids import new_id
from shared.database.unit_of_work import UnitOfWork

LIFETIME = timedelta(minutes=15)
INTERVAL = 5
MOST_INTERVAL = 60

CONSOLE = "fangxian-console"
"""The client of the console script. It is registered on first use, and can be revoked like any other client."""


async def register_console(uow: UnitOfWork) -> None:
    """Register the client of the console script, unless it is registered already or was revoked."""
    values = {
        "id": new_id(),
        "region": "",
        "client_id": CONSOLE,
        "kind": "app",
        "name": "命令行 fangxian",
        "people": "staff",
        "redirect_uris": [],
        "party": "",
        "secrets": [],
        "public_keys": [],
    }
    await uow.run(insert(ClientRow).values(values).on_conflict_do_nothing(constraint="client_taken"))


async def begin(uow: UnitOfWork, provider: Provider, client: ClientRow, network: str) -> dict[str, Any] | RefusedError:
    """Start a device authorization. Returns the response body of RFC 8628, 3.2."""
    if client.kind != "app" or client.people == "residents":
        raise RefusedError("grant_type_not_for_client")
    if wait := await attempts.take(uow, proofs.device_lanes(network)):
        return RefusedError("too_many_requests", retry_after=wait)
    device_code, user_code = proofs.new_secret(), rules.new_user_code()
    row = DeviceAuthorizationRow(
        hash=digest(device_code),
        user_code=digest(user_code),
        client_id=client.client_id,
        network=network,
        amr=[],
        wait_seconds=INTERVAL,
        begun_at=uow.now,
        expires_at=uow.now + LIFETIME,
    )
    uow.session.add(row)
    await uow.session.flush()
    page, shown = f"{provider.url}/sign-in/device", rules.user_code_shown(user_code)
    return {
        "device_code": device_code,
        "user_code": shown,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?user_code={shown}",
        "expires_in": int(LIFETIME.total_seconds()),
        "interval": INTERVAL,
    }


async def waiting(uow: UnitOfWork, typed: str, *, lock: bool = False) -> DeviceAuthorizationRow | None:
    """Return the device that shows a code, if it is still waiting."""
    code = rules.user_code_of(typed)
    query = select(DeviceAuthorizationRow).where(
        DeviceAuthorizationRow.user_code == digest(code), DeviceAuthorizationRow.state == "open"
    )
    row = (await uow.session.scalars(query.with_for_update() if lock else query)).one_or_none() if code else None
    return None if row is None or uow.now >= row.expires_at else row


async def approve(
    uow: UnitOfWork, user_code: str, account: AccountRow, grant: GrantRow | None, amr: list[str]
) -> datetime | None:
    """Approve a device for a person who signed in. Returns its expiry, or None if it is no longer waiting."""
    row = await waiting(uow, user_code, lock=True)
    if row is None:
        return None
    row.state, row.account_id, row.grant_id, row.amr = "approved", account.id, None if grant is None else grant.id, amr
    await uow.session.flush()
    return row.expires_at


async def exchange(uow: UnitOfWork, provider: Provider, client: ClientRow, parameters: Mapping[str, str]) -> Answer:
    """Exchange a device code for tokens, once the device is approved (RFC 8628, 3.4 and 3.5)."""
    hash_ = digest(parameters.get("device_code", ""))
    row = await uow.session.get(DeviceAuthorizationRow, hash_, with_for_update=True)
    if row is None or row.client_id != client.client_id:
        raise RefusedError("device_code_unknown")
    if uow.now >= row.expires_at:
        raise RefusedError("device_code_expired")
    if row.state == "refused":
        raise RefusedError("device_refused")
    if row.state == "open":
        before, row.asked_at = row.asked_at, uow.now
        if before is not None and uow.now < before + timedelta(seconds=row.wait_seconds):
            row.wait_seconds = min(MOST_INTERVAL, row.wait_seconds + INTERVAL)
            return RefusedError("slow_down")
        return RefusedError("authorization_pending")
    assert row.account_id is not None
    account = await account_that_holds(uow, row.account_id)
    grant = await grant_that_holds(uow, client, account, row.grant_id)
    session = await begin_session(uow, account, grant, client.client_id, row.amr, f"{client.name} {row.network}"[:120])
    await uow.session.delete(row)
    return await give(uow, provider, account, grant, session)
