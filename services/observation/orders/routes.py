"""Routes of orders (O1, articles 3 and 10)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query
from fastapi.responses import HTMLResponse

from services.observation.orders import decisions, notice, use_cases
from services.observation.orders.problems import (
    OrderDaysIncomplete,
    OrderEnded,
    OrderRoomUnconfirmed,
    OrderTestsMissing,
    OrderTooLong,
)
from services.observation.orders.schemas import Conversion, EarlyEnd, Extension, OrderPlan
from services.observation.orders.use_cases import OrderFilter
from shared.audit.kinds import Kind
from shared.contracts.observation import Order, OrderKind, OrderState
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.governance.proposals.use_cases import Proposal
from shared.http.router import PageAsked, Router, Uow
from shared.problems import Forbidden, NotFound

router = Router(prefix="/observation/v1/orders", tags=["orders"])

NOTICE = {
    "responses": {
        "200": {"content": {"text/html": {"example": "<!doctype html><html lang=zh-CN>…隔离医学观察告知书…</html>"}}}
    }
}

OrderId = Annotated[UUID, Path(description="Id of an order.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d51"])]

READERS = Role.CASEWORKERS | Role.RESIDENT
TEAM = Role.COMMUNITY_OFFICER | Role.VILLAGE_DOCTOR | Role.COMMAND


@router.get("", role=READERS)
async def list_orders(
    uow: Uow,
    page: PageAsked,
    region: Annotated[
        str | None, Query(pattern=r"^[0-9]{2,16}$", description="Only orders of people in this region.")
    ] = None,
    state: Annotated[OrderState | None, Query(description="Only those in this state.")] = None,
    kind: Annotated[OrderKind | None, Query(description="Only orders of this kind.")] = None,
    resident_id: Annotated[UUID | None, Query(description="Only orders of this person.")] = None,
) -> Listed[Order]:
    """List observation orders. Staff see those of their region, residents their own."""
    return await use_cases.list_orders(uow, OrderFilter(region, state, kind, resident_id), page)


@router.get("/{order_id}", role=READERS, raises=[NotFound])
async def get_order(order_id: OrderId, uow: Uow) -> Order:
    """Show one observation order."""
    return await use_cases.get_order(uow, order_id)


@router.get("/{order_id}/plan", role=READERS, raises=[NotFound])
async def plan_of_order(order_id: OrderId, uow: Uow) -> OrderPlan:
    """Show the plan of an order: the days, the tests done, and what is missing before it can end.

    Days are calendar days in Asia/Shanghai. Day n is complete at its end. Source: the order's protocol.
    """
    return await use_cases.plan_of_order(uow, order_id)


@router.get("/{order_id}/notice", role=READERS, raises=[NotFound], response_class=HTMLResponse, extra=NOTICE)
async def notice_of_order(order_id: OrderId, uow: Uow) -> HTMLResponse:
    """Show the printable notice 告知书 of an order, or its release notice, in Chinese (HTML).

    It contains the resident's id. Name, address and phone are blank lines, because this service does not have them.
    They are filled in by hand, or by the page that shows the notice. Source: article 10.
    """
    return HTMLResponse(await use_cases.notice_of_order(uow, order_id), headers=notice.HEADERS)


@router.post("/{order_id}/end", role=TEAM, raises=[NotFound, OrderEnded, OrderDaysIncomplete, OrderTestsMissing])
async def end_order(order_id: OrderId, uow: Uow) -> Order:
    """End an order whose days are complete and whose tests are negative.

    A later negative single-tube test replaces a missed one. Otherwise the order can only be ended early, by two people.
    """
    return await use_cases.end_order(uow, order_id)


DECIDED = {"role": TEAM, "status": 201, "audit": Kind.APPROVAL, "location": "/observation/v1/proposals/{id}"}
"""Options of the routes for proposals, which a commander of the person's region approves."""


@router.post(
    "/{order_id}/early-end",
    raises=[NotFound, Forbidden, OrderEnded],
    response_model=decisions.EARLY_END.proposal,
    **DECIDED,
)
async def propose_early_end(order_id: OrderId, request: EarlyEnd, uow: Uow) -> Proposal:
    """Propose to end an order before its days or tests are complete, with a reason.

    It ends when another commander approves. Source: article 10.
    """
    return await decisions.propose_early_end(uow, order_id, request)


@router.post(
    "/{order_id}/convert",
    raises=[NotFound, Forbidden, OrderEnded, OrderRoomUnconfirmed],
    response_model=decisions.CONVERSION.proposal,
    **DECIDED,
)
async def propose_conversion(order_id: OrderId, request: Conversion, uow: Uow) -> Proposal:
    """Propose to move a person to a site or home for the rest of the observation, with a reason.

    Home needs a separate room that staff have seen. The change takes effect when a commander approves.
    Source: article 10.
    """
    return await decisions.propose_conversion(uow, order_id, request)


@router.post(
    "/{order_id}/extend",
    raises=[NotFound, Forbidden, OrderEnded, OrderTooLong],
    response_model=decisions.EXTENSION.proposal,
    **DECIDED,
)
async def propose_extension(order_id: OrderId, request: Extension, uow: Uow) -> Proposal:
    """Propose to add days to an order, with a reason. They are added when a commander approves."""
    return await decisions.propose_extension(uow, order_id, request)
