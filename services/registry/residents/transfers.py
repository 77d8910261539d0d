"""Use cases of transfers and registration requests: regions decide them, and the worker settles them."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from sqlalchemy import TextClause, select, text
from sqlalchemy.engine import RowMapping

from services.registry.residents import bulk_upsert, rules
from services.registry.residents.problems import TransferDecided
from services.registry.residents.rules import Person, TransferMove
from services.registry.residents.schemas import Transfer
from services.registry.residents.tables import RegistrationRow, ResidentRow, TransferRow
from services.registry.residents.use_cases import person_of
from shared.core.clock import day_of
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.http.failures import is_transient
from shared.runtime.context import ServiceContext

logger = structlog.get_logger()

BATCH_ROWS = 100

SELECT_WAITING_REQUESTS = text("""
    SELECT id, seq FROM registrations WHERE state = 'received' AND transfer_id IS NULL AND seq > :after
    ORDER BY seq LIMIT :limit
""")
SELECT_DECIDED_TRANSFERS = text("""
    SELECT id, seq FROM transfers AS transfer
    WHERE seq > :after AND (state = 'accepted' OR (state = 'refused' AND EXISTS (
        SELECT FROM registrations WHERE transfer_id = transfer.id AND registrations.state = 'received'
    )))
    ORDER BY seq LIMIT :limit
""")

# The version does not change, because the caller could conclude from it that the person lives elsewhere.
SET_TRANSFER_OF_REQUEST = text("UPDATE registrations SET transfer_id = :transfer_id WHERE id = :id")


async def list_transfers(uow: UnitOfWork, page: Page) -> Listed[Transfer]:
    """Return one page of transfers."""
    return await uow.page(select(TransferRow), page, lambda row: _shown(uow, row))


async def get_transfer(uow: UnitOfWork, transfer_id: UUID) -> Transfer:
    """Return one transfer."""
    return _shown(uow, await uow.get(TransferRow, transfer_id))


async def decide_transfer(uow: UnitOfWork, transfer_id: UUID, move: TransferMove) -> Transfer:
    """Accept or refuse a transfer. The worker, which has access to both regions, carries it out."""
    row = await uow.lock(TransferRow, transfer_id)
    state = rules.TRANSFER_MOVES.get((row.state, move))
    if state is None:
        raise TransferDecided()
    row.state = state
    await uow.session.flush()
    uow.context.notifier.wake(uow.context.settings.service)
    return _shown(uow, row)


def _shown(uow: UnitOfWork, row: TransferRow) -> Transfer:
    uow.record_access([row.resident_id])
    return row.public()


Act = Callable[[UnitOfWork, UUID], Awaitable[None]]


async def settle_requests(context: ServiceContext) -> None:
    """Settle the open registration requests, and carry out the transfers that were decided."""
    await _each(context, SELECT_WAITING_REQUESTS, _settle_request)
    await _each(context, SELECT_DECIDED_TRANSFERS, _settle_transfer)


async def _each(context: ServiceContext, which: TextClause, act: Act) -> None:
    """Act on each row in its own transaction. A failed one does not delay the others and is tried again next time."""
    after = 0
    while True:
        async with context.system_unit_of_work() as uow:
            rows = await uow.rows(which, after=after, limit=BATCH_ROWS)
        for row in rows:
            try:
                async with context.system_unit_of_work("settle requests") as uow:
                    await act(uow, row["id"])
            except Exception as error:
                if is_transient(error):
                    raise
                logger.error("request.failed", id=str(row["id"]), error=type(error).__name__)
        if len(rows) < BATCH_ROWS:
            return
        after = rows[-1]["seq"]


async def _settle_request(uow: UnitOfWork, id_: UUID) -> None:
    statement = select(RegistrationRow).where(
        RegistrationRow.id == id_, RegistrationRow.state == "received", RegistrationRow.transfer_id.is_(None)
    )
    request = await uow.session.scalar(statement.with_for_update(skip_locked=True))
    if request is None:
        return
    person = person_of(request)
    prepared = bulk_upsert.prepare(uow.context.keyring, [person], day_of(uow.now))
    added = await bulk_upsert.add(uow, prepared)
    if added:
        bulk_upsert.publish(uow, added, "created")
        request.settle(added[0].id)
        return
    (row,) = await bulk_upsert.known(uow, prepared.others_than(added).values())
    asker = (request.scope_low, request.scope_high)
    verdict = rules.verdict(row["region"], row["state"], row["closed_reason"], asker)
    if verdict == "exists":
        request.refuse("resident_exists", row["id"])
    elif verdict == "returns":
        await _take_in(uow, row, person)
        request.settle(row["id"])
    else:
        await uow.run(SET_TRANSFER_OF_REQUEST, id=id_, transfer_id=await _claim(uow, row["id"], person.region))


async def _take_in(uow: UnitOfWork, row: RowMapping, person: Person) -> None:
    """Move a known person to the region, with the data of the request."""
    change = bulk_upsert.compare(uow.context.keyring, row, person, day_of(uow.now))
    if change is not None:
        bulk_upsert.publish(uow, await bulk_upsert.change(uow, [(row, change)]), "moved")


async def _claim(uow: UnitOfWork, resident_id: UUID, to_region: str) -> UUID:
    """Create a claim that the person's current region decides, or return the open one."""
    statement = select(TransferRow.id).where(
        TransferRow.resident_id == resident_id,
        TransferRow.to_region == to_region,
        TransferRow.state.in_(["asked", "accepted"]),
    )
    open_claim = await uow.session.scalar(statement)
    if open_claim is not None:
        return open_claim
    resident = await uow.get(ResidentRow, resident_id)
    claim = uow.add(
        TransferRow(
            region=resident.region,
            kind="claim",
            resident_id=resident_id,
            from_region=resident.region,
            to_region=to_region,
            name=resident.name,
            document_number=resident.document_number,
        )
    )
    return claim.id


async def _settle_transfer(uow: UnitOfWork, id_: UUID) -> None:
    statement = select(TransferRow).where(TransferRow.id == id_, TransferRow.state.in_(["accepted", "refused"]))
    transfer = await uow.session.scalar(statement.with_for_update(skip_locked=True))
    if transfer is None:
        return
    waiting = select(RegistrationRow).where(RegistrationRow.transfer_id == id_, RegistrationRow.state == "received")
    requests = (await uow.session.scalars(waiting.order_by(RegistrationRow.id).with_for_update())).all()
    resident = await uow.get(ResidentRow, transfer.resident_id)
    if transfer.state == "accepted" and rules.lapses(transfer.kind, resident.closed_reason):
        transfer.state = rules.TRANSFER_MOVES[transfer.state, "lapse"]
    if transfer.state == "refused":
        for request in requests:
            request.refuse("declined")
        return
    person = person_of(requests[0]) if requests else _offered(resident, transfer)
    (row,) = await bulk_upsert.known(uow, [resident.slots])
    await _take_in(uow, row, person)
    for request in requests:
        request.settle(resident.id)
    transfer.state = rules.TRANSFER_MOVES[transfer.state, "carry_out"]


def _offered(resident: ResidentRow, transfer: TransferRow) -> Person:
    """Return the person with the new home. All other data stay."""
    home = transfer.new_home
    return Person(
        region=transfer.to_region,
        name=resident.name or "",
        document_type=resident.document_type,
        document_number=resident.document_number or "",
        phone=None,
        address=home.get("address"),
        household_id=rules.household_of(transfer.to_region, home.get("household")),
        birth_date=resident.birth_date,
        sex=resident.sex,
        pregnant=None,
        dependent=None,
    )
