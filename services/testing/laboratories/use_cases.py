"""Laboratories: whether those that are named exist."""

from collections.abc import Iterable

from sqlalchemy import text

from shared.problems import Problem, Text
from shared.work import Work

MOST_NAMED = 10

KNOWN = text("SELECT DISTINCT party FROM laboratories WHERE active AND party = ANY(CAST(:asked AS text[]))")
SOME = text("SELECT DISTINCT party FROM laboratories WHERE active ORDER BY party LIMIT :most")


class LaboratoryUnknown(Problem):
    """No laboratory of this name is registered: nobody could ever receive the tube."""

    status = 422
    code = "laboratory_unknown"
    title = Text(zh="没有登记这家检测机构", en="No such laboratory is registered")
    what = Text(
        zh="没有登记检测机构“{laboratory}”；已登记的有：{known}",
        en="The laboratory {laboratory} is not registered. Registered are: {known}",
    )
    fix = Text(
        zh="请核对名称；新机构请由指挥部先登记（POST /gateway/v1/clients），几秒后即可使用",
        en="Check the name; a new one is first registered by the command (POST /gateway/v1/clients), and known seconds "
        "later",
    )


async def known_laboratories(work: Work, asked: Iterable[str]) -> set[str]:
    """Those of these names that are registered."""
    names = sorted(set(asked))
    return {row["party"] for row in await work.rows(KNOWN, asked=names)} if names else set()


async def some_laboratories(work: Work) -> str:
    """The names of some that there are, for a sentence."""
    return ", ".join(row["party"] for row in await work.rows(SOME, most=MOST_NAMED)) or "-"
