"""Use cases of regions: add, show and list them."""

from sqlalchemy import or_, select

from services.registry.regions import rules
from services.registry.regions.schemas import NewRegion
from services.registry.regions.tables import RegionRow
from shared.contracts.registry import Region
from shared.core.actors import Role
from shared.core.days import day_of
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Forbidden, LocalizedText, NotFound, Problem

COUNTY = 6
"""Digits of a county's code. The national list ends with counties, and all callers can read it."""


class RegionTaken(Problem):
    """A region with this code exists."""

    status = 409
    code = "region_taken"
    title = LocalizedText(zh="该区划代码已存在", en="This region code already exists")
    fix = LocalizedText(zh="请更换代码，或直接使用已有区划", en="Choose another code, or use the existing region")


class RegionUnknown(Problem):
    """The region does not exist, or is outside the caller's area."""

    status = 422
    code = "region_unknown"
    title = LocalizedText(zh="未找到该区划", en="Region not found")
    what = LocalizedText(zh="本辖区内没有区划 {code}", en="Region {code} not found in your area")
    fix = LocalizedText(zh="请核对代码，或先建立上级区划", en="Check the code, or add the region above it first")


class RegionWithdrawn(Problem):
    """The region existed and was withdrawn."""

    status = 422
    code = "region_withdrawn"
    title = LocalizedText(zh="该区划已撤销", en="The region was withdrawn")
    what = LocalizedText(zh="区划 {code} 已撤销", en="Region {code} was withdrawn")
    fix = LocalizedText(zh="请使用现行区划代码", en="Use a current region")


async def add_region(uow: UnitOfWork, new: NewRegion) -> Region:
    """Add a region under an existing one."""
    parent, level = rules.parent_needed(new.code), rules.level_needed(new.code)
    if level in rules.OF_COMMAND and uow.actor.role is not Role.COMMAND:
        raise Forbidden()
    above = await _find(uow, parent)
    if above is None:
        raise RegionUnknown(code=parent, at="/code")
    if above.valid_until is not None and above.valid_until < day_of(uow.now):
        raise RegionWithdrawn(code=parent, at="/code")
    row = uow.add(RegionRow(region=new.code, name=new.name, level=level, parent=parent))
    return await uow.publish(row, change="added")


async def get_region(uow: UnitOfWork, code: str) -> Region:
    """Return one region by its code."""
    row = await _find(uow, code)
    if row is None and len(code) <= COUNTY:
        # A person's origin, or the county that issued an old ID number, can be outside every scope.
        async with uow.unscoped():
            row = await _find(uow, code)
    if row is None:
        raise NotFound()
    return row.public()


async def list_regions(uow: UnitOfWork, parent: str | None, page: Page) -> Listed[Region]:
    """Return one page of current regions."""
    today = day_of(uow.now)
    statement = select(RegionRow).where(or_(RegionRow.valid_until.is_(None), RegionRow.valid_until >= today))
    if parent is not None:
        statement = statement.where(RegionRow.parent == parent)
    return await uow.page(statement, page, RegionRow.public)


async def _find(uow: UnitOfWork, code: str) -> RegionRow | None:
    return (await uow.session.scalars(select(RegionRow).where(RegionRow.region == code))).one_or_none()
