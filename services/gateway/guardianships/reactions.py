"""Reactions of guardianships to new and ended proxies of the registry."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select, text

from services.gateway.accounts.tables import AccountRow
from services.gateway.guardianships.tables import GuardianshipRow
from services.gateway.issuer.ending import end_tokens
from shared.contracts.registry import Proxy
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork
from shared.feed.reader import reacts_to

DELETE_GUARDIANSHIPS = text("DELETE FROM guardianships WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING guardian_id")


async def forget_proxies(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Delete ended proxies. The guardians' tokens stop working; new tokens do not contain these dependants."""
    guardian_ids = {row["guardian_id"] for row in await uow.rows(DELETE_GUARDIANSHIPS, ids=in_order(ids))}
    query = select(AccountRow.id).where(AccountRow.resident_id.in_(guardian_ids)).order_by(AccountRow.id)
    for account in await uow.session.scalars(query):
        await end_tokens(uow, account)


@reacts_to(Proxy, forget=forget_proxies)
async def follow_proxies(uow: UnitOfWork, proxies: Sequence[Proxy]) -> None:
    """Store for whom guardians may act. It takes effect with their next token."""
    await forget_proxies(uow, _ids(proxies, "ended"))
    rows = [
        {"id": one.id, "guardian_id": one.guardian_id, "dependant_id": one.dependant_id}
        for one in proxies
        if one.state == "active"
    ]
    await uow.upsert(GuardianshipRow, rows)


def _ids(proxies: Iterable[Proxy], state: str) -> list[UUID]:
    return sorted(one.id for one in proxies if one.state == state)
