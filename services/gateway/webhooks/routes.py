"""Webhooks: who is told of what happens (G7)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query
from sqlalchemy import select

from services.gateway.webhooks import use_cases
from services.gateway.webhooks.schemas import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointMade,
    NewEndpoint,
    Replay,
    Replayed,
)
from services.gateway.webhooks.tables import DeliveryRow, EndpointRow
from services.gateway.webhooks.use_cases import EndpointsFull, WebhookAddressForbidden
from shared.core.actors import Role
from shared.database.paging import InvalidCursor, Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/gateway/v1/webhooks", tags=["webhooks"])

OWNERS = Role.COMMAND | Role.MUNICIPAL

EndpointId = Annotated[
    UUID, Path(description="Id of a webhook endpoint.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"])
]


@router.post(
    "",
    role=OWNERS,
    raises=[EndpointsFull, RegionOutside, WebhookAddressForbidden],
    status=201,
    location="/gateway/v1/webhooks/{id}",
)
async def add_webhook(new: NewEndpoint, uow: Uow) -> EndpointMade:
    """Create a webhook endpoint for the events of a region, from now on.

    Each event is POSTed as a CloudEvent 1.0 in JSON, signed by Standard Webhooks, at least once: its `webhook-id` is
    the same in every delivery. The secret is shown only once. Answer 2xx within 15 seconds; 410 ends it.
    """
    return await use_cases.add_webhook(uow, new)


@router.get("", role=OWNERS)
async def list_webhooks(uow: Uow, page: PageAsked) -> Listed[Endpoint]:
    """List the caller's webhook endpoints and their state."""
    return await uow.page(select(EndpointRow), page, EndpointRow.public)


@router.get("/{endpoint_id}", role=OWNERS, raises=[NotFound])
async def get_webhook(endpoint_id: EndpointId, uow: Uow) -> Endpoint:
    """Show a webhook endpoint and its state."""
    return (await uow.get(EndpointRow, endpoint_id)).public()


@router.delete("/{endpoint_id}", role=OWNERS, raises=[NotFound], status=204)
async def remove_webhook(endpoint_id: EndpointId, uow: Uow) -> None:
    """Delete a webhook endpoint."""
    await uow.session.delete(await uow.lock(EndpointRow, endpoint_id))


@router.post("/{endpoint_id}/rotate", role=OWNERS, raises=[NotFound])
async def rotate_webhook(endpoint_id: EndpointId, uow: Uow) -> EndpointMade:
    """Create a new signing secret, shown only once. For a day events carry both signatures."""
    return await use_cases.rotate_webhook(uow, endpoint_id)


@router.post("/{endpoint_id}/disable", role=OWNERS, raises=[NotFound])
async def disable_webhook(endpoint_id: EndpointId, uow: Uow) -> Endpoint:
    """Pause a webhook endpoint. Events wait and are sent when it is enabled again."""
    return await use_cases.disable_webhook(uow, endpoint_id)


@router.post("/{endpoint_id}/enable", role=OWNERS, raises=[NotFound, RegionOutside])
async def enable_webhook(endpoint_id: EndpointId, uow: Uow) -> Endpoint:
    """Enable a webhook endpoint, beginning with the events it missed. It then lasts as long as the caller's rights."""
    return await use_cases.enable_webhook(uow, endpoint_id)


@router.get("/{endpoint_id}/deliveries", role=OWNERS, raises=[NotFound])
async def list_deliveries(
    endpoint_id: EndpointId,
    uow: Uow,
    page: PageAsked,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
) -> Listed[Delivery]:
    """List deliveries: sent and waiting. Delivered events are kept for a week."""
    await uow.get(EndpointRow, endpoint_id)
    deliveries = select(DeliveryRow).where(DeliveryRow.endpoint_id == endpoint_id)
    if state is not None:
        deliveries = deliveries.where(DeliveryRow.state == state)
    return await uow.page(deliveries, page, DeliveryRow.public)


@router.post("/{endpoint_id}/replay", role=OWNERS, raises=[NotFound, InvalidCursor])
async def replay_deliveries(endpoint_id: EndpointId, query: Replay, uow: Uow) -> Replayed:
    """Replay events now: those delivered in the last seven days, those parked, and those given up.

    Each subject's events are sent in order, with the ids they had. New events of a subject wait behind them.
    """
    return await use_cases.replay_deliveries(uow, endpoint_id, query)
