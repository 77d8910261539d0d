"""Routes of proxies (R2)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

from services.registry.proxies import use_cases
from services.registry.proxies.schemas import NewProxy
from services.registry.proxies.use_cases import ProxyExists, ProxyLimit, ProxySelf
from services.registry.residents.routes import KEEPERS
from shared.contracts.registry import Proxy
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/registry/v1/proxies", tags=["proxies"])

ProxyId = Annotated[UUID, Path(description="Id of a proxy.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d55"])]


@router.post(
    "",
    role=KEEPERS,
    raises=[NotFound, ProxyExists, ProxyLimit, ProxySelf],
    status=201,
    location="/registry/v1/proxies/{id}",
)
async def give_proxy(new: NewProxy, uow: Uow) -> Proxy:
    """Register a proxy: a guardian acts for a child or an elder of the caller's region. Staff must see the evidence.

    It ends automatically when the record of either person is closed, and moves with the dependant.
    """
    return await use_cases.give_proxy(uow, new)


@router.get("", role=KEEPERS | Role.RESIDENT)
async def list_proxies(uow: Uow, page: PageAsked) -> Listed[Proxy]:
    """List proxies. Staff see those of dependants in their region, residents their own."""
    return await use_cases.list_proxies(uow, page)


@router.get("/{proxy_id}", role=KEEPERS | Role.RESIDENT, raises=[NotFound])
async def get_proxy(proxy_id: ProxyId, uow: Uow) -> Proxy:
    """Show a proxy."""
    return await use_cases.get_proxy(uow, proxy_id)


@router.post("/{proxy_id}/end", role=KEEPERS | Role.RESIDENT, raises=[NotFound])
async def end_proxy(proxy_id: ProxyId, uow: Uow) -> Proxy:
    """End a proxy. Either side can do it. New tokens no longer include this dependant.

    The guardian's current tokens stop working within seconds.
    """
    return await use_cases.end_proxy(uow, proxy_id)
