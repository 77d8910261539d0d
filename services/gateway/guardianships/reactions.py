"""Guardianships: what happens when a proxy is given or ends."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select, text

from services.gateway.accounts.tables import AccountRow
from services.gateway.guardianships.tables import GuardianshipRow
from services.gateway.issuer.ending import end_tokens
from shared.contracts.registry import Proxy
from shared.feed.reader import reacts_to
from shared.ids import in_order
from shared.work import Work

FORGET = text("DELETE FROM guardianships WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING guardian_id")


async def forget_proxies(work: Work, ids: Sequence[UUID]) -> None:
    """Proxies that are no more: what their guardians were given stops working, and the next token says less."""
    gone = {row["guardian_id"] for row in await work.rows(FORGET, ids=in_order(ids))}
    asked = select(AccountRow.id).where(AccountRow.resident_id.in_(gone)).order_by(AccountRow.id)
    for account in await work.session.scalars(asked):
        await end_tokens(work, account)


@reacts_to(Proxy, forget=forget_proxies)
async def follow_proxies(work: Work, proxies: Sequence[Proxy]) -> None:
    """For whom somebody may act, from their next token on."""
    await forget_proxies(work, _ids(proxies, "ended"))
    rows = [
        {"id": one.id, "guardian_id": one.guardian_id, "dependant_id": one.dependant_id}
        for one in proxies
        if one.state == "active"
    ]
    await work.upsert(GuardianshipRow, rows)


def _ids(proxies: Iterable[Proxy], state: str) -> list[UUID]:
    return sorted(one.id for one in proxies if one.state == state)
