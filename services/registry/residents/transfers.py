"""Use cases of transfers and registration requests: regions decide them, and the worker settles them."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from sqlalchemy import TextClause, select, text
from sqlalchemy.engine import RowMapping

from services.registry.residents import rules, writing
from services.registry.residents.problems import TransferDecided
from services.registry.residents.rules import Person, TransferMove
from services.registry.residents.schemas import Transfer
from services.registry.residents.tables import RegistrationRow, ResidentRow, TransferRow
from services.registry.residents.use_cases import person_of
from shared.core.clock import day_of
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import Work
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


async def list_transfers(work: Work, page: Page) -> Listed[Transfer]:
    """Return one page of transfers."""
    return await work.page(select(TransferRow), page, lambda row: _shown(work, row))


async def get_transfer(work: Work, transfer_id: UUID) -> Transfer:
    """Return one transfer."""
    return _shown(work, await work.get(TransferRow, transfer_id))


async def decide_transfer(work: Work, transfer_id: UUID, move: TransferMove) -> Transfer:
    """Accept or refuse a transfer. The worker, which has access to both regions, carries it out."""
    row = await work.lock(TransferRow, transfer_id)
    state = rules.TRANSFER_MOVES.get((row.state, move))
    if state is None:
        raise TransferDecided()
    row.state = state
    await work.session.flush()
    work.context.waker.wake(work.context.settings.service)
    return _shown(work, row)


def _shown(work: Work, row: TransferRow) -> Transfer:
    work.saw([row.resident_id])
    return row.public()


Act = Callable[[Work, UUID], Awaitable[None]]


async def settle_requests(context: ServiceContext) -> None:
    """Settle the open registration requests, and carry out the transfers that were decided."""
    await _each(context, SELECT_WAITING_REQUESTS, _settle_request)
    await _each(context, SELECT_DECIDED_TRANSFERS, _settle_transfer)


async def _each(context: ServiceContext, which: TextClause, act: Act) -> None:
    """Act on each row in its own transaction. A failed one does not delay the others and is tried again next time."""
    after = 0
    while True:
        async with context.system_work() as work:
            rows = await work.rows(which, after=after, limit=BATCH_ROWS)
        for row in rows:
            try:
                async with context.system_work("settle requests") as work:
                    await act(work, row["id"])
            except Exception as error:
                if is_transient(error):
                    raise
                logger.error("request.failed", id=str(row["id"]), error=type(error).__name__)
        if len(rows) < BATCH_ROWS:
            return
        after = rows[-1]["seq"]


async def _settle_request(work: Work, id_: UUID) -> None:
    statement = select(RegistrationRow).where(
        RegistrationRow.id == id_, RegistrationRow.state == "received", RegistrationRow.transfer_id.is_(None)
    )
    request = await work.session.scalar(statement.with_for_update(skip_locked=True))
    if request is None:
        return
    person = person_of(request)
    prepared = writing.prepare(work.context.keyring, [person], day_of(work.now))
    added = await writing.add(work, prepared)
    if added:
        writing.tell(work, added, "created")
        request.settle(added[0].id)
        return
    (row,) = await writing.known(work, prepared.others_than(added).values())
    asker = (request.scope_low, request.scope_high)
    verdict = rules.verdict(row["region"], row["state"], row["closed_reason"], asker)
    if verdict == "exists":
        request.refuse("resident_exists", row["id"])
    elif verdict == "returns":
        await _take_in(work, row, person)
        request.settle(row["id"])
    else:
        await work.run(SET_TRANSFER_OF_REQUEST, id=id_, transfer_id=await _claim(work, row["id"], person.region))


async def _take_in(work: Work, row: RowMapping, person: Person) -> None:
    """Move a known person to the region, with the data of the request."""
    change = writing.compare(work.context.keyring, row, person, day_of(work.now))
    if change is not None:
        writing.tell(work, await writing.change(work, [(row, change)]), "moved")


async def _claim(work: Work, resident_id: UUID, to_region: str) -> UUID:
    """Create a claim that the person's current region decides, or return the open one."""
    statement = select(TransferRow.id).where(
        TransferRow.resident_id == resident_id,
        TransferRow.to_region == to_region,
        TransferRow.state.in_(["asked", "accepted"]),
    )
    open_claim = await work.session.scalar(statement)
    if open_claim is not None:
        return open_claim
    resident = await work.get(ResidentRow, resident_id)
    claim = work.add(
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


async def _settle_transfer(work: Work, id_: UUID) -> None:
    statement = select(TransferRow).where(TransferRow.id == id_, TransferRow.state.in_(["accepted", "refused"]))
    transfer = await work.session.scalar(statement.with_for_update(skip_locked=True))
    if transfer is None:
        return
    waiting = select(RegistrationRow).where(RegistrationRow.transfer_id == id_, RegistrationRow.state == "received")
    requests = (await work.session.scalars(waiting.order_by(RegistrationRow.id).with_for_update())).all()
    resident = await work.get(ResidentRow, transfer.resident_id)
    if transfer.state == "accepted" and rules.lapses(transfer.kind, resident.closed_reason):
        transfer.state = rules.TRANSFER_MOVES[transfer.state, "lapse"]
    if transfer.state == "refused":
        for request in requests:
            request.refuse("declined")
        return
    person = person_of(requests[0]) if requests else _offered(resident, transfer)
    (row,) = await writing.known(work, [resident.slots])
    await _take_in(work, row, person)
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
