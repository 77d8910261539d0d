"""Webhooks: what happens when somebody manages endpoints."""

from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select, text

from services.gateway.messages.rules import with_new_secret
from services.gateway.webhooks.schemas import Delivery, DeliveryState, Endpoint, EndpointMade, NewEndpoint, Replay
from services.gateway.webhooks.tables import DeliveryRow, EndpointRow
from shared.contracts.resource import owner_of
from shared.feed import log
from shared.http.addresses import literal, may_be_called
from shared.problems import Problem, Text
from shared.work import Listed, Page, Work, place_of

MOST_ENDPOINTS = 100


class EndpointsFull(Problem):
    """There are as many endpoints as are served well."""

    status = 409
    code = "webhooks_full"
    title = Text(zh="推送地址已满", en="There are too many webhook endpoints")
    fix = Text(zh="请删除不再使用的推送地址", en="Remove endpoints that are no longer used")


class WebhookAddressForbidden(Problem):
    """The URL leads to a machine of our own network, or to this one."""

    status = 422
    code = "webhook_address_forbidden"
    title = Text(zh="推送地址不可用", en="Webhooks are not sent to that address")
    fix = Text(
        zh="请使用公网地址；如属政务内网，请由运维人员将其网段加入 FANGXIAN_WEBHOOK_NETWORKS",
        en="Use a public address, or let an operator add the city intranet's network to FANGXIAN_WEBHOOK_NETWORKS",
    )


# A new endpoint begins where the gateway itself has read to: nothing that happens from here on can be missed.
BEGIN = text("""
    INSERT INTO webhook_cursors (endpoint_id, owner, lane, cursor)
    SELECT :endpoint_id, asked.owner, asked.lane, coalesce(read.cursor, '0.0.0')
    FROM (SELECT owner, lane FROM unnest(CAST(:owners AS text[])) AS owner, unnest(CAST(:lanes AS text[])) AS lane)
        AS asked
    LEFT JOIN feed_cursors AS read ON read.owner = asked.owner AND read.lane = asked.lane
""")
BEGIN_OWN = text("""
    INSERT INTO webhook_cursors (endpoint_id, owner, lane, cursor)
    SELECT :endpoint_id, 'gateway', lane, :cursor FROM unnest(CAST(:lanes AS text[])) AS lane
""")

REPLAY = text("""
    UPDATE webhook_deliveries
    SET state = 'parked', attempts = 0, next_attempt_at = :now, version = version + 1, updated_at = now()
    WHERE endpoint_id = :endpoint_id AND state IN ('parked', 'dead')
      AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since) AND seq > :after
""")


async def add_webhook(work: Work, new: NewEndpoint) -> EndpointMade:
    work.require_within(new.region)
    # A name is judged each time it is resolved, by whoever sends.
    address = literal(urlsplit(new.url).hostname or "")
    if address is not None and not may_be_called(address, work.house.settings.webhook_networks):
        raise WebhookAddressForbidden(at="/url")
    if (await work.session.execute(select(func.count()).select_from(EndpointRow))).scalar_one() >= MOST_ENDPOINTS:
        raise EndpointsFull()
    secret, kept = with_new_secret(None, work.now)
    row = work.add(EndpointRow(url=new.url, types=new.types, region=new.region, party=work.actor.machine, secrets=kept))
    await work.session.flush()
    owners = {owner_of(type_name) for type_name in new.types}
    lanes = list(log.LANES)
    await work.run(BEGIN, endpoint_id=row.id, owners=sorted(owners - {"gateway"}), lanes=lanes)
    if "gateway" in owners:
        await work.run(BEGIN_OWN, endpoint_id=row.id, cursor=str(await log.horizon(work.session)), lanes=lanes)
    return EndpointMade(**row.public().model_dump(), secret=secret)


async def list_webhooks(work: Work, page: Page) -> Listed[Endpoint]:
    return await work.page(select(EndpointRow), page, EndpointRow.public)


async def get_webhook(work: Work, endpoint_id: UUID) -> Endpoint:
    return (await work.get(EndpointRow, endpoint_id)).public()


async def remove_webhook(work: Work, endpoint_id: UUID) -> None:
    row = await work.lock(EndpointRow, endpoint_id)
    await work.session.delete(row)


async def rotate_webhook(work: Work, endpoint_id: UUID) -> EndpointMade:
    row = await work.lock(EndpointRow, endpoint_id)
    secret, row.secrets = with_new_secret(row.secrets, work.now)
    await work.session.flush()
    return EndpointMade(**row.public().model_dump(), secret=secret)


async def disable_webhook(work: Work, endpoint_id: UUID) -> Endpoint:
    row = await work.lock(EndpointRow, endpoint_id)
    if row.state == "enabled":
        row.state, row.disabled_reason = "disabled", "by_hand"
        await work.session.flush()
    return row.public()


async def enable_webhook(work: Work, endpoint_id: UUID) -> Endpoint:
    row = await work.lock(EndpointRow, endpoint_id)
    row.state, row.disabled_reason = "enabled", None
    row.failures, row.failing_since, row.next_attempt_at = 0, None, None
    await work.session.flush()
    return row.public()


async def list_deliveries(work: Work, endpoint_id: UUID, state: DeliveryState | None, page: Page) -> Listed[Delivery]:
    await work.get(EndpointRow, endpoint_id)
    statement = select(DeliveryRow).where(DeliveryRow.endpoint_id == endpoint_id)
    if state is not None:
        statement = statement.where(DeliveryRow.state == state)
    return await work.page(statement, page, DeliveryRow.public)


async def replay_deliveries(work: Work, endpoint_id: UUID, asked: Replay) -> int:
    await work.get(EndpointRow, endpoint_id)
    return await work.run(
        REPLAY, endpoint_id=endpoint_id, now=work.now, since=asked.since, after=place_of(asked.after).seq
    )
