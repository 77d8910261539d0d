"""Checks that a laboratory named in a request is registered."""

from collections.abc import Iterable

from sqlalchemy import text

from shared.database.unit_of_work import UnitOfWork
from shared.problems import LocalizedText, Problem

MOST_NAMED = 10

SELECT_REGISTERED = text("SELECT DISTINCT party FROM laboratories WHERE active AND party = ANY(CAST(:names AS text[]))")
SELECT_SOME_REGISTERED = text("SELECT DISTINCT party FROM laboratories WHERE active ORDER BY party LIMIT :most")


class LaboratoryUnknown(Problem):
    """No laboratory of this name is registered, so nobody could receive the tube."""

    status = 422
    code = "laboratory_unknown"
    title = LocalizedText(zh="检测机构未登记", en="Laboratory not registered")
    what = LocalizedText(
        zh="检测机构“{laboratory}”未登记；已登记的有：{known}",
        en="The laboratory {laboratory} is not registered. Registered laboratories: {known}",
    )
    fix = LocalizedText(
        zh="请核对名称；新机构请先由指挥部登记（POST /gateway/v1/clients），登记后几秒内即可使用",
        en="Check the name. The command registers a new laboratory with POST /gateway/v1/clients. It can be used a few "
        "seconds later",
    )


async def known_laboratories(uow: UnitOfWork, names: Iterable[str]) -> set[str]:
    """Return those of these names that are registered."""
    query = sorted(set(names))
    return {row["party"] for row in await uow.rows(SELECT_REGISTERED, names=query)} if query else set()


async def some_laboratories(uow: UnitOfWork) -> str:
    """Return the names of some registered laboratories, for the text of a problem."""
    return ", ".join(row["party"] for row in await uow.rows(SELECT_SOME_REGISTERED, most=MOST_NAMED)) or "-"
