"""What follows from what is known of a tube: the one place that decides it, whether a result, a correction, or a late
record of a swab brought the news. Runs within `work.everywhere`, in the transaction that brought it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.retests import use_cases as retests
from services.testing.retests.rules import calls_members
from services.testing.tubes.said import look_at_tubes, written
from shared.contracts.testing import Outcome, Tube
from shared.ids import in_order
from shared.work import Work

# A test that failed tells nothing: its people are missing again. If a correction says it did not fail, each gets the
# place in the round back, unless it was taken by another swab since.
TAKE_PLACES = text("""
    UPDATE samples SET counted = false
    FROM tubes
    WHERE tubes.id = samples.tube_id AND tubes.id = ANY(CAST(:tubes AS uuid[])) AND counted
      AND (tubes.outcome = 'invalid' OR tubes.state = 'discarded')
""")
GIVE_PLACES = text("""
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
    """What a transaction changed about one tube: what was in force before, and how to call the change."""

    change: str
    former: Outcome | None = None


async def follow(work: Work, news: dict[UUID, News]) -> None:
    """Draw all consequences for tubes that the caller holds locked and has changed, and publish them.

    A positive, a grey zone, and the correction of either take the urgent lane.
    """
    if not news:
        return
    tubes = await look_at_tubes(work, news)
    await _keep_places(work, tubes, news)
    calling = any(calls_members(tube["outcome"], pool=tube["pool"], drill=tube["drill"]) for tube in tubes)
    answering = await retests.follow_tubes(work, in_order(news), calling=calling)
    if answering:
        tubes = await look_at_tubes(work, [*news, *answering])
    for tube in tubes:
        said = news.get(tube["id"], News("answers"))
        urgent = tube["outcome"] in URGENT or said.former in URGENT
        work.publish_written(Tube, written(tube), change=said.change, urgent=urgent)


async def _keep_places(work: Work, tubes: Sequence[RowMapping], news: dict[UUID, News]) -> None:
    ids = in_order(news)
    if any(tube["outcome"] == "invalid" or tube["state"] == "discarded" for tube in tubes):
        await work.run(TAKE_PLACES, tubes=ids)
    if any(one.former == "invalid" for one in news.values()):
        await work.run(GIVE_PLACES, tubes=ids)
