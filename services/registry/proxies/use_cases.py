"""Use cases of proxies. Staff who have seen the evidence register them, and either side can end them."""

from uuid import UUID

from sqlalchemy import func, select

from services.registry.proxies import rules
from services.registry.proxies.schemas import NewProxy
from services.registry.proxies.tables import ProxyRow
from services.registry.residents.tables import ResidentRow
from shared.contracts.registry import Proxy
from shared.database.paging import Listed, Page
from shared.database.unit_of_work import UnitOfWork
from shared.problems import LocalizedText, NotFound, Problem


class ProxyExists(Problem):
    """An active proxy of these two people exists."""

    status = 409
    code = "proxy_exists"
    title = LocalizedText(zh="该代办关系已登记", en="This guardian already acts for this person")
    fix = LocalizedText(zh="无需重复登记", en="No action is needed")


class ProxySelf(Problem):
    """Guardian and dependant are the same person."""

    status = 422
    code = "proxy_self"
    title = LocalizedText(zh="代办人不能是本人", en="A person cannot be their own guardian")
    fix = LocalizedText(zh="请选择其他人员", en="Choose another person")


class ProxyLimit(Problem):
    """The guardian has the most dependants, or the dependant the most guardians, that are allowed."""

    status = 409
    code = "proxy_limit"
    title = LocalizedText(zh="代办人或被代办人数已满", en="The limit of dependants or guardians is reached")
    fix = LocalizedText(
        zh="每名代办人最多为 8 人代办，每人最多有 3 名代办人；请先结束其他代办关系",
        en="A guardian can have 8 dependants, and a dependant 3 guardians. End another proxy first",
    )


async def give_proxy(uow: UnitOfWork, new: NewProxy) -> Proxy:
    """Register a proxy. Both people must be within the caller's scope, but existing proxies are counted everywhere."""
    if new.guardian_id == new.dependant_id:
        raise ProxySelf()
    both = sorted((new.guardian_id, new.dependant_id))
    for one in both:
        await uow.get(ResidentRow, one)
    async with uow.unscoped():
        # Lock both in the order of ids, so that concurrent requests count one after the other.
        people = {one: await uow.lock(ResidentRow, one) for one in both}
        if any(person.state != "active" for person in people.values()):
            raise NotFound()
        dependants = await _count(uow, ProxyRow.guardian_id == new.guardian_id)
        guardians = await _count(uow, ProxyRow.dependant_id == new.dependant_id)
        if not rules.has_room(dependants, guardians):
            raise ProxyLimit()
        row = uow.add(
            ProxyRow(
                region=people[new.dependant_id].region,
                guardian_id=new.guardian_id,
                dependant_id=new.dependant_id,
                evidence=new.evidence,
                given_by=uow.actor.subject,
            )
        )
        uow.record_access(both)
        return await uow.publish(row, change="given")


async def end_proxy(uow: UnitOfWork, proxy_id: UUID) -> Proxy:
    """End a proxy, by the guardian, the dependant or staff. An ended proxy stays unchanged."""
    await uow.get(ProxyRow, proxy_id)
    async with uow.unscoped():
        row = await uow.lock(ProxyRow, proxy_id)
        if row.state == "ended":
            return row.public()
        row.state, row.ended_by, row.ended_at = "ended", uow.actor.subject, uow.now
        uow.record_access([row.guardian_id, row.dependant_id])
        return await uow.publish(row, change="ended", urgent=True)


async def list_proxies(uow: UnitOfWork, page: Page) -> Listed[Proxy]:
    """Return one page of active proxies."""
    return await uow.page(select(ProxyRow).where(ProxyRow.state == "active"), page, ProxyRow.public)


async def get_proxy(uow: UnitOfWork, proxy_id: UUID) -> Proxy:
    """Return one proxy."""
    return (await uow.get(ProxyRow, proxy_id)).public()


async def _count(uow: UnitOfWork, condition: object) -> int:
    query = select(func.count()).select_from(ProxyRow).where(condition, ProxyRow.state == "active")  # type: ignore[arg-type]
    return int((await uow.session.execute(query)).scalar_one())
