"""Regions: what happens."""

from sqlalchemy import select

from services.registry.regions import rules
from services.registry.regions.schemas import NewRegion
from services.registry.regions.tables import RegionRow
from shared.contracts.registry import Region
from shared.problems import NotFound, Problem, Text
from shared.work import Listed, Page, Work


class RegionTaken(Problem):
    """The code belongs to a region already."""

    status = 409
    code = "region_taken"
    title = Text(zh="该区划代码已存在", en="The region code is taken")
    fix = Text(zh="请换一个代码，或直接使用已有的区划", en="Choose another code, or use the region that has it")


class RegionUnknown(Problem):
    """The region above does not exist, or lies outside what the caller may see."""

    status = 422
    code = "region_unknown"
    title = Text(zh="没有该区划", en="There is no such region")
    what = Text(zh="辖区内没有区划 {code}", en="There is no region {code} within your scope")
    fix = Text(zh="请核对代码，或先建立上级区划", en="Check the code, or add the region above it first")


async def add_region(work: Work, new: NewRegion) -> Region:
    parent = rules.parent_needed(new.code)
    if await _find(work, parent) is None:
        raise RegionUnknown(code=parent, at="/code")
    row = work.add(
        RegionRow(
            region=new.code,
            name=new.name,
            level="patch" if len(new.code) == 14 else "grid",
            parent=parent,
        )
    )
    return await work.publish(row, change="added")


async def get_region(work: Work, code: str) -> Region:
    row = await _find(work, code)
    if row is None:
        raise NotFound()
    return row.public()


async def list_regions(work: Work, parent: str | None, page: Page) -> Listed[Region]:
    statement = select(RegionRow)
    if parent is not None:
        statement = statement.where(RegionRow.parent == parent)
    return await work.page(statement, page, RegionRow.public)


async def _find(work: Work, code: str) -> RegionRow | None:
    return (await work.session.scalars(select(RegionRow).where(RegionRow.region == code))).one_or_none()
