"""Use cases of retests. A retest has a pool, a person, a due time, and a swab taken after the pool's result."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, select
from sqlalchemy.engine import RowMapping

from services.testing.limits import limits
from services.testing.retests import rules, statements
from services.testing.retests.rules import OPEN, RetestState, states_before
from services.testing.retests.schemas import OwnRetest, next_step
from services.testing.retests.tables import RetestRow
from shared.contracts.testing import Retest
from shared.core.ids import in_order
from shared.database.paging import Listed, Page, Position, listed
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language

LAST = 2**63 - 1


class SingleSwab(NamedTuple):
    """A kept swab, and one pool that it answers."""

    tube_id: UUID
    resident_id: UUID
    pool_id: UUID


def calling_pools(tubes: Iterable[RowMapping]) -> list[UUID]:
    """Return the ids of the tubes that call their members. A row has `id`, `outcome`, `pool` and `drill`."""
    return [
        tube["id"] for tube in tubes if rules.calls_members(tube["outcome"], pool=tube["pool"], drill=tube["drill"])
    ]


async def follow_tubes(uow: UnitOfWork, tube_ids: Sequence[UUID], *, calling: Collection[UUID]) -> list[UUID]:
    """Update the retests after a change of these tubes, which the caller has locked.

    `calling`: those of the tubes that call their members. Without them and without retests that depend on the tubes,
    one statement is enough. Returns other tubes that answer one of these.
    """
    tubes = in_order(tube_ids)
    dependent = await uow.rows(statements.LOCK_RETESTS, tubes=tubes)
    if dependent:
        cleared = [tube for tube in tubes if tube not in calling]
        await _move(uow, statements.WITHDRAW_RETESTS, "withdrawn", pools=cleared, states=states_before("withdraw"))
        await recall(uow, tubes)
    answering: list[UUID] = []
    if calling:
        called = await _move(
            uow,
            statements.CALL_MEMBERS,
            "called",
            urgent=True,
            calling=in_order(calling),
            now=uow.now,
            due=uow.now + limits().retest,
            states=states_before("call"),
        )
        answering = await _answer_late(uow, called)
    if dependent or calling:
        changed = in_order([*tubes, *answering])
        await _move(uow, statements.SETTLE_RETESTS, "settled", tubes=changed, states=states_before("settle"))
    return answering


async def _answer_late(uow: UnitOfWork, called: Sequence[Retest]) -> list[UUID]:
    """Use single swabs that were taken after the pool's result, before the person was known to be in the pool."""
    if not called:
        return []
    rows = await uow.rows(statements.SELECT_LATER_SINGLE_SWABS, ids=[retest.id for retest in called])
    return await sample(uow, [SingleSwab(**row) for row in rows])


async def sample(uow: UnitOfWork, swabs: Sequence[SingleSwab]) -> list[UUID]:
    """Record kept swabs that answer pools: in the retest its tube, and in the tube its pools. Returns the tubes."""
    if not swabs:
        return []
    ordered = sorted(set(swabs))
    tubes = [swab.tube_id for swab in ordered]
    pools = [swab.pool_id for swab in ordered]
    await uow.run(statements.ADD_ANSWERED_POOLS, tubes=tubes, pools=pools)
    await _move(
        uow,
        statements.RECORD_SINGLE_SWABS,
        "sampled",
        tubes=tubes,
        residents=[swab.resident_id for swab in ordered],
        pools=pools,
        states=states_before("sample"),
    )
    return tubes


async def recall(uow: UnitOfWork, tube_ids: Iterable[UUID]) -> None:
    """Call people again whose single tube was lost, undone, or gave no clear result, if their pool is still suspect."""
    tubes = in_order(tube_ids)
    calling = calling_pools(await uow.rows(statements.SELECT_POOLS_OF_SINGLE_TUBES, tubes=tubes))
    if calling:
        await _move(
            uow,
            statements.RECALL_MEMBERS,
            "called",
            urgent=True,
            tubes=tubes,
            calling=calling,
            due=uow.now + limits().retest,
            states=states_before("recall"),
        )


async def move(uow: UnitOfWork, old: UUID, new: UUID, resident_id: UUID) -> None:
    """Move the retests of a swab to the tube it is really in. The caller has locked both tubes, and both are open."""
    await uow.run(statements.MOVE_ANSWERED_POOLS, old=old, new=new)
    await _move(
        uow,
        statements.MOVE_RETESTS,
        "moved",
        old=old,
        new=new,
        resident=resident_id,
        states=states_before("move"),
    )


async def follow_people(uow: UnitOfWork, residents: Sequence[UUID]) -> None:
    """Move open retests to the regions where their people live now."""
    await _move(uow, statements.MOVE_RETESTS_WITH_PEOPLE, "moved", residents=in_order(residents), states=list(OPEN))


async def _move(
    uow: UnitOfWork, statement: TextClause, change: str, *, urgent: bool = False, **values: object
) -> Sequence[Retest]:
    moved = [Retest(**row) for row in await uow.rows(statement, **values)]
    uow.publish_all(moved, change=change, urgent=urgent)
    return moved


async def list_retests(
    uow: UnitOfWork, state: RetestState | None, overdue: bool, pool_id: UUID | None, page: Page
) -> Listed[Retest]:
    """Return one page of retests. `overdue`: only open ones past their due time."""
    statement = select(RetestRow)
    if state is not None:
        statement = statement.where(RetestRow.state == state)
    if overdue:
        statement = statement.where(RetestRow.state.in_(OPEN), RetestRow.due_at < uow.now)
    if pool_id is not None:
        statement = statement.where(RetestRow.pool_id == pool_id)
    listed = await uow.page(statement, page, RetestRow.public)
    uow.record_access(retest.resident_id for retest in listed.items)
    return listed


async def get_retest(uow: UnitOfWork, retest_id: UUID) -> Retest:
    """Return one retest."""
    retest = (await uow.get(RetestRow, retest_id)).public()
    uow.record_access([retest.resident_id])
    return retest


async def list_my_retests(uow: UnitOfWork, page: Page, language: Language) -> Listed[OwnRetest]:
    """Return one page of the retests of the caller and the caller's dependants, newest first."""
    matches = await uow.rows(statements.SELECT_MY_RETESTS, before=page.after.seq or LAST, limit=page.limit + 1)
    shown = listed(matches, page, lambda row: _own(row, language), lambda row: Position(seq=row["seq"]))
    uow.record_access(retest.resident_id for retest in shown.items)
    return shown


def _own(row: RowMapping, language: Language) -> OwnRetest:
    values = {name: row[name] for name in OwnRetest.model_fields if name != "next_step"}
    return OwnRetest(**values, next_step=next_step(row["state"], row["outcome"]).render(language))
