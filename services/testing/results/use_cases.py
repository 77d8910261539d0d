"""Takes a batch of reports with a fixed number of statements, and one answer for each report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing import problems
from services.testing.answers import refusal
from services.testing.limits import CLOCK_AHEAD
from services.testing.results import propagation, rules
from services.testing.results.propagation import News
from services.testing.results.rules import Refused, Report, TubeFacts
from services.testing.results.schemas import NewResult, ResultAnswer, Revision
from services.testing.results.tables import ResultRow
from services.testing.tubes.lookup import id_of, lock_tubes
from services.testing.tubes.rules import states_before
from services.testing.tubes.tables import TubeRow
from shared.contracts.testing import Outcome
from shared.database.bulk import literal
from shared.database.paging import Listed, Page, Position, listed
from shared.database.unit_of_work import UnitOfWork
from shared.problems import ClockAhead, Language, Problem

PROBLEMS: Mapping[Refused, type[Problem]] = {
    "clock_ahead": ClockAhead,
    "tube_unknown": problems.TubeUnknown,
    "tube_not_sealed": problems.TubeNotSealed,
    "tube_not_received": problems.TubeNotReceived,
    "tube_discarded": problems.TubeDiscarded,
    "result_outdated": problems.ResultOutdated,
}
AT: Mapping[Refused, str] = {"clock_ahead": "tested_at", "result_outdated": "revision"}


SELECT_RESULTS = text("""
    SELECT tube_id, revision, outcome, tested_at FROM results WHERE tube_id = ANY(CAST(:tubes AS uuid[]))
""")

# If a positive becomes a grey zone, or the reverse, `reported_at` stays, because a swab taken after the first report
# still answers the pool. The exact time of each revision is in `results`. Each tube is looked up on its own and written
# by the `ctid` of its locked row, because a join read all tubes of the scope for each batch.
UPDATE_RESULTS = text("""
    UPDATE tubes SET state = 'resulted', outcome = report.outcome, revision = report.revision,
        tested_at = report.tested_at, reported_at = CASE
            WHEN tubes.outcome IN ('positive', 'inconclusive') AND report.outcome IN ('positive', 'inconclusive')
            THEN tubes.reported_at ELSE :now END,
        held = missing > 0, version = version + 1, updated_at = :now
    FROM (
        SELECT * FROM unnest(
            CAST(CAST(:tubes AS text) AS uuid[]), CAST(CAST(:revisions AS text) AS bigint[]), CAST(:outcomes AS text[]),
            CAST(CAST(:tested AS text) AS timestamptz[])
        ) AS report (tube_id, revision, outcome, tested_at)
        CROSS JOIN LATERAL (SELECT ctid AS place FROM tubes WHERE id = tube_id LIMIT 1) AS tube
    ) AS report
    WHERE tubes.ctid = report.place AND tubes.state = ANY(CAST(:states AS text[]))
""")

SELECT_REVISIONS = text("""
    SELECT revision, laboratory, outcome, tested_at, reported_at FROM results
    WHERE tube_id = :id AND revision > :after ORDER BY revision LIMIT :limit
""")


@dataclass
class Taken:
    """The accepted reports of one tube in a batch, in order, and the outcome in force before."""

    former: Outcome | None
    reports: list[Report] = field(default_factory=list)


async def add_results(uow: UnitOfWork, items: Sequence[NewResult], language: Language) -> list[ResultAnswer]:
    """Take a batch of reports. Returns one answer for each, in order."""
    ids = [id_of(item.tube_number) for item in items]
    # Row-level security shows a laboratory only its own tubes.
    tubes = await lock_tubes(uow, ids)
    async with uow.unscoped():
        facts = await _facts(uow, tubes)
        taken: dict[UUID, Taken] = {}
        answers = [
            _take(uow, position, item, tubes.get(id_), facts, taken, language)
            for position, (id_, item) in enumerate(zip(ids, items, strict=True))
        ]
        if taken:
            await _store(uow, tubes, taken)
    return answers


async def _facts(uow: UnitOfWork, tubes: Mapping[UUID, RowMapping]) -> dict[UUID, TubeFacts]:
    reports: dict[UUID, dict[int, Report]] = {id_: {} for id_ in tubes}
    for row in await uow.rows(SELECT_RESULTS, tubes=list(tubes)):
        reports[row["tube_id"]][row["revision"]] = Report(row["outcome"], row["revision"], row["tested_at"])
    return {id_: TubeFacts(row["state"], row["revision"], reports[id_]) for id_, row in tubes.items()}


def _take(
    uow: UnitOfWork,
    position: int,
    item: NewResult,
    tube: RowMapping | None,
    facts: Mapping[UUID, TubeFacts],
    taken: dict[UUID, Taken],
    language: Language,
) -> ResultAnswer:
    """Decide one report, with the earlier reports of the batch taken into account."""
    report = Report(item.outcome, item.revision, item.tested_at)
    known = facts[tube["id"]] if tube is not None else None
    decision = rules.decide(report, known, uow.now, CLOCK_AHEAD)
    if decision == "already" or decision == "take":
        assert tube is not None
        assert known is not None
        held = tube["missing"] > 0
        if decision == "already":
            return ResultAnswer(tube_number=item.tube_number, status="already", held=held)
        status = "reported" if known.revision is None else "corrected"
        taken.setdefault(tube["id"], Taken(tube["outcome"])).reports.append(report)
        known.state, known.revision = "resulted", report.revision
        known.reports = {**known.reports, report.revision: report}
        return ResultAnswer(tube_number=item.tube_number, status=status, held=held)
    values: dict[str, Any] = {"revision": known.revision} if decision == "result_outdated" and known else {}
    problem = PROBLEMS[decision](at=f"/items/{position}/{AT.get(decision, 'tube_number')}", **values)
    return ResultAnswer(tube_number=item.tube_number, status="refused", problem=refusal(problem, language))


async def _store(uow: UnitOfWork, tubes: Mapping[UUID, RowMapping], taken: Mapping[UUID, Taken]) -> None:
    rows = [
        {
            "tube_id": id_,
            "revision": report.revision,
            "region": tubes[id_]["region"],
            "laboratory": tubes[id_]["laboratory"],
            "outcome": report.outcome,
            "tested_at": report.tested_at,
            "reported_at": uow.now,
        }
        for id_, one in taken.items()
        for report in one.reports
    ]
    await uow.insert_all(ResultRow, rows)
    last = [one.reports[-1] for one in taken.values()]
    await uow.run(
        UPDATE_RESULTS,
        tubes=literal(list(taken)),
        revisions=literal([report.revision for report in last]),
        outcomes=[report.outcome for report in last],
        tested=literal([report.tested_at for report in last]),
        states=states_before("report"),
        now=uow.now,
    )
    await propagation.propagate(
        uow, {id_: News("resulted" if one.former is None else "corrected", one.former) for id_, one in taken.items()}
    )


async def list_results(uow: UnitOfWork, tube_id: UUID, page: Page) -> Listed[Revision]:
    """Return one page of the revisions of a tube's result."""
    await uow.get(TubeRow, tube_id)
    revisions = await uow.rows(SELECT_REVISIONS, id=tube_id, after=page.after.seq, limit=page.limit + 1)
    return listed(revisions, page, lambda row: Revision(**row), lambda row: Position(seq=row["revision"]))
