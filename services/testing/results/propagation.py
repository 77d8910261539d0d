"""Propagates a change of a tube: a result, a correction, a late record or a discard. No other code does.

Runs within `uow.unscoped`, in the transaction that made the change.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.retests import use_cases as retests
from services.testing.tubes.serialization import look_at_tubes, written
from shared.contracts.testing import Outcome, Tube
from shared.core.ids import in_order
from shared.database.unit_of_work import UnitOfWork

# The people of a failed test count as missing again.
UNCOUNT_SAMPLES = text("""
    UPDATE samples SET counted = false
    FROM tubes
    WHERE tubes.id = samples.tube_id AND tubes.id = ANY(CAST(:tubes AS uuid[])) AND counted
      AND (tubes.outcome = 'invalid' OR tubes.state = 'discarded')
""")
# A correction of a failed test: count each sample again, unless a later sample of the same person is counted already.
RECOUNT_SAMPLES = text("""
    UPDATE samples SET counted = true
    FROM tubes
    WHERE tubes.id = samples.tube_id AND tubes.id = ANY(CAST(:tubes AS uuid[])) AND NOT counted
      AND tubes.outcome <> 'invalid' AND tubes.state = 'resulted'
      AND samples.exception IS NULL AND samples.undone_at IS NULL AND NOT samples.retest
      AND NOT EXISTS (
          SELECT FROM samples AS other
          WHERE other.campaign_id = samples.campaign_id AND other.resident_id = samples.resident_id AND other.counted
      )
""")

URGENT: Collection[Outcome | None] = ("positive", "inconclusive")


@dataclass(frozen=True, slots=True)
class News:
    """A change of one tube: the name of the change on the feed, and the outcome in force before."""

    change: str
    former: Outcome | None = None


async def propagate(uow: UnitOfWork, news: dict[UUID, News]) -> None:
    """Propagate the changes of tubes that the caller has locked and changed, and publish the tubes.

    A positive, a grey zone, and a correction of either are published as urgent.
    """
    if not news:
        return
    tubes = await look_at_tubes(uow, news)
    await _update_counted_samples(uow, tubes, news)
    answering = await retests.follow_tubes(uow, in_order(news), calling=retests.calling_pools(tubes))
    if answering:
        tubes = await look_at_tubes(uow, [*news, *answering])
    for tube in tubes:
        one = news.get(tube["id"], News("answers"))
        urgent = tube["outcome"] in URGENT or one.former in URGENT
        uow.publish_serialized(Tube, written(tube), change=one.change, urgent=urgent)


async def _update_counted_samples(uow: UnitOfWork, tubes: Sequence[RowMapping], news: dict[UUID, News]) -> None:
    ids = in_order(news)
    if any(tube["outcome"] == "invalid" or tube["state"] == "discarded" for tube in tubes):
        await uow.run(UNCOUNT_SAMPLES, tubes=ids)
    if any(one.former == "invalid" for one in news.values()):
        await uow.run(RECOUNT_SAMPLES, tubes=ids)
