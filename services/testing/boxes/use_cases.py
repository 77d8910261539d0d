"""Use cases of boxes: pack, pick up, send and receive them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.engine import RowMapping

from services.testing.boxes import rules
from services.testing.boxes.rules import BoxMove, BoxState
from services.testing.boxes.schemas import Box, NewBox, Reception
from services.testing.boxes.tables import BoxRow
from services.testing.laboratories.use_cases import LaboratoryUnknown, known_laboratories, some_laboratories
from services.testing.limits import limits
from services.testing.problems import STATES, BoxMoveForbidden, BoxTubesUnfit
from services.testing.scope import own_region
from services.testing.tubes import lookup
from services.testing.tubes.lookup import lock_tubes
from services.testing.tubes.rules import states_before
from services.testing.tubes.serialization import publish_tubes
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Fault, LocalizedText

SELECT_TUBES_IN_BOX = text("SELECT id FROM tubes WHERE box_id = :box_id ORDER BY id")

PACK_TUBES = text("""
    UPDATE tubes SET box_id = :box_id, laboratory = :laboratory, version = version + 1, updated_at = :now
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")

SEND_TUBES = text("""
    UPDATE tubes SET state = 'in_transit', version = version + 1, updated_at = :now
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state = ANY(CAST(:states AS text[]))
""")

RECEIVE_TUBES = text("""
    UPDATE tubes SET state = 'received', received_at = :now, late = coalesce(first_sampled_at < :overdue, false),
        version = version + 1, updated_at = :now
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state = ANY(CAST(:states AS text[]))
""")

SELECT_CONTENT = text("""
    SELECT box_id, number, state, late FROM tubes WHERE box_id = ANY(CAST(:boxes AS uuid[])) ORDER BY number
""")

UNFIT: Mapping[str, LocalizedText] = {
    "tube_unknown": LocalizedText(zh="未找到该采样管", en="Tube not found"),
    "tube_not_sealed": LocalizedText(zh="采样管未封管", en="The tube is not sealed"),
    "tube_elsewhere": LocalizedText(
        zh="采样管已在途、已签收或已作废", en="The tube is in transit, received or discarded"
    ),
    "tube_in_box": LocalizedText(zh="采样管已在其他样本箱中", en="The tube is in another box"),
    "other_laboratory": LocalizedText(zh="采样管送往其他检测机构", en="The tube is sealed for another laboratory"),
}


async def pack_box(uow: UnitOfWork, new: NewBox) -> Box:
    """Pack sealed tubes into a new box."""
    if not await known_laboratories(uow, [new.laboratory]):
        raise LaboratoryUnknown(laboratory=new.laboratory, known=await some_laboratories(uow), at="/laboratory")
    numbers = {row["number"]: row["id"] for row in await uow.rows(lookup.FIND_TUBES, numbers=new.tube_numbers)}
    tubes = await lock_tubes(uow, numbers.values())
    matches = {tube["number"]: tube for tube in tubes.values()}
    faults = [
        Fault(code, UNFIT[code], at=f"/tube_numbers/{index}")
        for index, number in enumerate(new.tube_numbers)
        if (code := _unfit(matches.get(number), new.laboratory)) is not None
    ]
    if faults:
        raise BoxTubesUnfit(errors=faults)
    region = rules.smallest_region((tube["region"] for tube in tubes.values()), own_region(uow.actor))
    row = uow.add(BoxRow(region=region, laboratory=new.laboratory, state="packed", tubes=len(tubes), unexpected=[]))
    await uow.run(PACK_TUBES, box_id=row.id, laboratory=new.laboratory, ids=list(tubes), now=uow.now)
    return (await _to_public_all(uow, [row]))[0]


def _unfit(tube: RowMapping | None, laboratory: str) -> str | None:
    """Return the code of the fault if a tube cannot go into a box for a laboratory, otherwise None."""
    if tube is None:
        return "tube_unknown"
    if tube["state"] != "sealed":
        return "tube_not_sealed" if tube["state"] == "open" else "tube_elsewhere"
    if tube["box_id"] is not None:
        return "tube_in_box"
    return "other_laboratory" if tube["laboratory"] not in (None, laboratory) else None


async def pick_up_box(uow: UnitOfWork, box_id: UUID) -> Box:
    """Record that a courier has taken a box."""
    box = await uow.lock(BoxRow, box_id)
    box.state = _moved(box, "pick_up")
    box.picked_up_at = uow.now
    return (await _to_public_all(uow, [box]))[0]


async def send_box(uow: UnitOfWork, box_id: UUID) -> Box:
    """Record that a box has left, and set its sealed tubes in transit."""
    box = await uow.lock(BoxRow, box_id)
    box.state = _moved(box, "depart")
    box.departed_at = uow.now
    async with uow.unscoped():
        tubes = await lock_tubes(uow, [row["id"] for row in await uow.rows(SELECT_TUBES_IN_BOX, box_id=box_id)])
        await uow.run(SEND_TUBES, ids=list(tubes), states=states_before("depart"), now=uow.now)
    return (await _to_public_all(uow, [box]))[0]


async def receive_box(uow: UnitOfWork, box_id: UUID, reception: Reception) -> Box:
    """Record that the laboratory has received a box, and receive the tubes found in it."""
    box = await uow.lock(BoxRow, box_id)
    state = _moved(box, "receive")
    numbers = {row["number"]: row["id"] for row in await uow.rows(lookup.FIND_TUBES, numbers=reception.tube_numbers)}
    tubes = await lock_tubes(uow, numbers.values())
    reconciled = rules.reconcile(
        reception.tube_numbers,
        declared=[tube["number"] for tube in tubes.values() if tube["box_id"] == box_id],
        states={tube["number"]: tube["state"] for tube in tubes.values()},
    )
    box.state, box.received_at = state, box.received_at or uow.now
    box.unexpected = sorted({*box.unexpected, *reconciled.unexpected})
    arrived = [numbers[number] for number in reconciled.received]
    if arrived:
        async with uow.unscoped():
            await uow.run(
                RECEIVE_TUBES,
                ids=arrived,
                states=states_before("receive"),
                now=uow.now,
                overdue=uow.now - limits().reception,
            )
            await publish_tubes(uow, arrived, change="received")
    return (await _to_public_all(uow, [box]))[0]


def _moved(box: BoxRow, by: BoxMove) -> BoxState:
    state: BoxState = box.state  # type: ignore[assignment]  # the constraint says so
    moved = rules.move(state, by)
    if moved is None:
        raise BoxMoveForbidden(state=STATES[state])
    return moved


async def get_box(uow: UnitOfWork, box_id: UUID) -> Box:
    """Return one box with its tubes."""
    return (await _to_public_all(uow, [await uow.get(BoxRow, box_id)]))[0]


async def list_boxes(uow: UnitOfWork, state: BoxState | None, page: Page) -> Listed[Box]:
    """Return one page of boxes within the caller's scope."""
    statement = select(BoxRow)
    if state is not None:
        statement = statement.where(BoxRow.state == state)
    listed = await uow.page(statement, page, lambda row: row)
    return Listed(items=await _to_public_all(uow, listed.items), next_cursor=listed.next_cursor)


async def _to_public_all(uow: UnitOfWork, boxes: Sequence[BoxRow]) -> list[Box]:
    """Return boxes with their tubes. Missing tubes are computed on each read: they can arrive in another box."""
    content: dict[UUID, list[RowMapping]] = {box.id: [] for box in boxes}
    for tube in await uow.rows(SELECT_CONTENT, boxes=list(content)):
        content[tube["box_id"]].append(tube)
    return [_to_public(box, content[box.id]) for box in boxes]


def _to_public(box: BoxRow, tubes: Sequence[RowMapping]) -> Box:
    arrived = box.state == "received"
    values: dict[str, Any] = {
        name: getattr(box, name)
        for name in ("id", "version", "region", "laboratory", "state", "picked_up_at", "departed_at", "received_at")
    }
    return Box(
        **values,
        packed_at=box.created_at,
        tube_numbers=[tube["number"] for tube in tubes],
        missing=[tube["number"] for tube in tubes if arrived and tube["state"] in states_before("receive")],
        unexpected=box.unexpected,
        late=[tube["number"] for tube in tubes if tube["late"]],
    )
