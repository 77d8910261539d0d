"""Regions: what happens."""

from sqlalchemy import or_, select

from services.registry.regions import rules
from services.registry.regions.schemas import NewRegion
from services.registry.regions.tables import RegionRow
from shared.actors import Role
from shared.contracts.registry import Region
from shared.days import day_of
from shared.problems import Forbidden, NotFound, Problem, Text
from shared.work import Listed, Page, Work

COUNTY = 6
"""Digits of a county's code. The country's list ends with counties, and everybody may read it."""


class RegionTaken(Problem):
    """The code belongs to a region already."""

    status = 409
    code = "region_taken"
    title = Text(zh="该区划代码已存在", en="This region code already exists")
    fix = Text(zh="请换一个代码，或直接使用已有的区划", en="Choose another code, or use the existing region")


class RegionUnknown(Problem):
    """The region above does not exist, or lies outside what the caller may see."""

    status = 422
    code = "region_unknown"
    title = Text(zh="没有该区划", en="No such region")
    what = Text(zh="辖区内没有区划 {code}", en="There is no region {code} in your area")
    fix = Text(zh="请核对代码，或先建立上级区划", en="Check the code, or add the region above it first")


class RegionWithdrawn(Problem):
    """The region existed and was withdrawn."""

    status = 422
    code = "region_withdrawn"
    title = Text(zh="该区划已撤销", en="The region was withdrawn")
    what = Text(zh="区划 {code} 已撤销", en="Region {code} was withdrawn")
    fix = Text(zh="请使用现行的区划代码", en="Use a region that exists today")


async def add_region(work: Work, new: NewRegion) -> Region:
    parent, level = rules.parent_needed(new.code), rules.level_needed(new.code)
    if level in rules.OF_COMMAND and work.actor.role is not Role.COMMAND:
        raise Forbidden()
    above = await _find(work, parent)
    if above is None:
        raise RegionUnknown(code=parent, at="/code")
    if above.valid_until is not None and above.valid_until < day_of(work.now):
        raise RegionWithdrawn(code=parent, at="/code")
    row = work.add(RegionRow(region=new.code, name=new.name, level=level, parent=parent))
    return await work.publish(row, change="added")


async def get_region(work: Work, code: str) -> Region:
    row = await _find(work, code)
    if row is None and len(code) <= COUNTY:
        # Where a person comes from, or an old ID number was issued, lies outside of every scope.
        async with work.everywhere():
            row = await _find(work, code)
    if row is None:
        raise NotFound()
    return row.public()


async def list_regions(work: Work, parent: str | None, page: Page) -> Listed[Region]:
    today = day_of(work.now)
    statement = select(RegionRow).where(or_(RegionRow.valid_until.is_(None), RegionRow.valid_until >= today))
    if parent is not None:
        statement = statement.where(RegionRow.parent == parent)
    return await work.page(statement, page, RegionRow.public)


async def _find(work: Work, code: str) -> RegionRow | None:
    return (await work.session.scalars(select(RegionRow).where(RegionRow.region == code))).one_or_none()
