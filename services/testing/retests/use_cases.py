"""Retests: what happens. A retest has a pool, an owner, a due time, and a swab taken after the pool's result."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, select
from sqlalchemy.engine import RowMapping

from services.testing.limits import limits
from services.testing.retests import statements
from services.testing.retests.rules import OPEN, RetestState, states_before
from services.testing.retests.schemas import OwnRetest, next_step
from services.testing.retests.tables import RetestRow
from shared.contracts.testing import Retest
from shared.ids import in_order
from shared.problems import Language
from shared.work import Listed, Page, Place, Work, listed

LAST = 2**63 - 1


class SingleSwab(NamedTuple):
    """A kept swab, and one pool that it answers."""

    tube_id: UUID
    resident_id: UUID
    pool_id: UUID


async def follow_tubes(work: Work, tube_ids: Sequence[UUID], *, calling: bool) -> list[UUID]:
    """Make the retests agree with what is in force of these tubes, which the caller holds locked.

    `calling`: whether one of them may call its members. Nothing else is asked when nothing rests on any of them.
    Returns other tubes that turned out to answer one of these.
    """
    tubes = in_order(tube_ids)
    resting = await work.rows(statements.LOCK, tubes=tubes)
    if resting:
        await _move(work, statements.WITHDRAW, "withdrawn", tubes=tubes, states=states_before("withdraw"))
        await recall(work, tubes)
    answering: list[UUID] = []
    if calling:
        called = await _move(
            work, statements.CALL, "called", urgent=True, tubes=tubes, now=work.now, due=work.now + limits().retest
        )
        answering = await _answer_late(work, called)
    if resting or calling:
        every = in_order([*tubes, *answering])
        await _move(work, statements.SETTLE, "settled", tubes=every, states=states_before("settle"))
    return answering


async def _answer_late(work: Work, called: Sequence[Retest]) -> list[UUID]:
    """Find single swabs that people took after the pool's result, before anybody knew they were in it."""
    if not called:
        return []
    rows = await work.rows(statements.SWABBED_SINCE, ids=[retest.id for retest in called])
    return await sample(work, [SingleSwab(**row) for row in rows])


async def sample(work: Work, swabs: Sequence[SingleSwab]) -> list[UUID]:
    """Swabs that answer pools were kept: the retests know their tube, and the tubes know their pools."""
    if not swabs:
        return []
    ordered = sorted(set(swabs))
    tubes = [swab.tube_id for swab in ordered]
    pools = [swab.pool_id for swab in ordered]
    await work.run(statements.ANSWER, tubes=tubes, pools=pools)
    await _move(
        work,
        statements.SAMPLE,
        "sampled",
        tubes=tubes,
        residents=[swab.resident_id for swab in ordered],
        pools=pools,
        states=states_before("sample"),
    )
    return tubes


async def recall(work: Work, tube_ids: Iterable[UUID]) -> None:
    """Call again those whose single tube was lost, undone, or told nothing."""
    due = work.now + limits().retest
    await _move(
        work,
        statements.RECALL,
        "called",
        urgent=True,
        tubes=in_order(tube_ids),
        due=due,
        states=states_before("call"),
    )


async def move(work: Work, old: UUID, new: UUID, resident_id: UUID) -> None:
    """A swab that answers pools turned out to be in another tube, which both are held locked and open."""
    await work.run(statements.ANSWER_INSTEAD, old=old, new=new)
    await _move(work, statements.MOVE, "moved", old=old, new=new, resident=resident_id)


async def follow_people(work: Work, residents: Sequence[UUID]) -> None:
    """Open retests move with their people."""
    await _move(work, statements.FOLLOW_PEOPLE, "moved", residents=in_order(residents), states=list(OPEN))


async def _move(
    work: Work, statement: TextClause, change: str, *, urgent: bool = False, **values: object
) -> Sequence[Retest]:
    moved = [Retest(**row) for row in await work.rows(statement, **values)]
    work.publish_all(moved, change=change, urgent=urgent)
    return moved


async def list_retests(
    work: Work, state: RetestState | None, overdue: bool, pool_id: UUID | None, page: Page
) -> Listed[Retest]:
    statement = select(RetestRow)
    if state is not None:
        statement = statement.where(RetestRow.state == state)
    if overdue:
        statement = statement.where(RetestRow.state.in_(OPEN), RetestRow.due_at < work.now)
    if pool_id is not None:
        statement = statement.where(RetestRow.pool_id == pool_id)
    listed = await work.page(statement, page, RetestRow.public)
    work.saw(retest.resident_id for retest in listed.items)
    return listed


async def get_retest(work: Work, retest_id: UUID) -> Retest:
    retest = (await work.get(RetestRow, retest_id)).public()
    work.saw([retest.resident_id])
    return retest


async def list_my_retests(work: Work, page: Page, language: Language) -> Listed[OwnRetest]:
    """The latest first: a page goes on before the number of the last retest shown."""
    found = await work.rows(statements.MINE, before=page.after.seq or LAST, limit=page.limit + 1)
    shown = listed(found, page, lambda row: _own(row, language), lambda row: Place(seq=row["seq"]))
    work.saw(retest.resident_id for retest in shown.items)
    return shown


def _own(row: RowMapping, language: Language) -> OwnRetest:
    said = {name: row[name] for name in OwnRetest.model_fields if name != "next_step"}
    return OwnRetest(**said, next_step=next_step(row["state"], row["outcome"]).say(language))
