"""Webhooks: what happens when somebody manages endpoints."""

from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select, text

from services.gateway.messages.rules import with_new_secret
from services.gateway.webhooks.schemas import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointMade,
    NewEndpoint,
    Replay,
    Replayed,
)
from services.gateway.webhooks.tables import SCHEDULE_SUBJECTS, DeliveryRow, EndpointRow
from shared.contracts.resource import owner_of
from shared.feed import log
from shared.http.addresses import literal, may_be_called
from shared.problems import Fault, InvalidInput, Problem, Text
from shared.regions import range_of
from shared.work import Listed, Page, Place, Work, cursor_of, place_of

MOST_ENDPOINTS = 100
MOST_REPLAYED = 5_000
"""Events of one replay: an endpoint for which too many wait is not read for any further (rules.py)."""


NOT_HTTPS = Text(zh="正式运行时只能推送到 https 网址", en="In production events go to https addresses only")


class EndpointsFull(Problem):
    """There are as many endpoints as are served well."""

    status = 409
    code = "webhooks_full"
    title = Text(zh="推送地址数量已达上限", en="The limit for webhook endpoints is reached")
    fix = Text(zh="请删除不再使用的推送地址", en="Remove endpoints that are no longer used")


class WebhookAddressForbidden(Problem):
    """The URL leads to a machine of our own network, or to this one."""

    status = 422
    code = "webhook_address_forbidden"
    title = Text(zh="推送地址不可用", en="Webhooks cannot be sent to this address")
    fix = Text(
        zh="请使用公网地址；如属政务内网，请由运维人员将其网段加入 FANGXIAN_WEBHOOK_NETWORKS",
        en="Use a public address; for an intranet, ask the operator to add its network to FANGXIAN_WEBHOOK_NETWORKS",
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

# The oldest first: what is beyond the limit is asked for next time, after the last of these.
# Chosen once: a subquery with a limit and a lock would be run again for each row that it is compared with.
REPLAY = text("""
    WITH chosen AS MATERIALIZED (
        SELECT id FROM webhook_deliveries
        WHERE endpoint_id = :endpoint_id AND state = ANY(CAST(:states AS text[]))
          AND (CAST(:types AS text[]) IS NULL OR type = ANY(CAST(:types AS text[])))
          AND region >= :low AND region < :high
          AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since) AND seq > :after
        ORDER BY seq LIMIT :most FOR UPDATE
    )
    UPDATE webhook_deliveries AS delivery
    SET state = 'parked', attempts = 0, delivered_at = NULL, next_attempt_at = NULL, version = delivery.version + 1,
        updated_at = now()
    FROM chosen WHERE delivery.id = chosen.id
    RETURNING subject, seq
""")


async def add_webhook(work: Work, new: NewEndpoint) -> EndpointMade:
    work.require_within(new.region)
    # A name is judged each time it is resolved, by whoever sends.
    address = literal(urlsplit(new.url).hostname or "")
    if address is not None and not may_be_called(address, work.house.settings.webhook_networks):
        raise WebhookAddressForbidden(at="/url")
    if work.house.settings.production and urlsplit(new.url).scheme != "https":
        raise InvalidInput(errors=[Fault("url_not_https", NOT_HTTPS, at="/url")])
    if (await work.session.execute(select(func.count()).select_from(EndpointRow))).scalar_one() >= MOST_ENDPOINTS:
        raise EndpointsFull()
    secret, kept = with_new_secret(None, work.now)
    row = work.add(
        EndpointRow(
            url=new.url,
            types=new.types,
            region=new.region,
            party=work.actor.machine,
            owner=work.actor.subject,
            secrets=kept,
        )
    )
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
    work.require_within(row.region)
    row.state, row.disabled_reason, row.owner = "enabled", None, work.actor.subject
    row.failures, row.failing_since, row.next_attempt_at = 0, None, None
    await work.session.flush()
    return row.public()


async def list_deliveries(work: Work, endpoint_id: UUID, state: DeliveryState | None, page: Page) -> Listed[Delivery]:
    await work.get(EndpointRow, endpoint_id)
    statement = select(DeliveryRow).where(DeliveryRow.endpoint_id == endpoint_id)
    if state is not None:
        statement = statement.where(DeliveryRow.state == state)
    return await work.page(statement, page, DeliveryRow.public)


async def replay_deliveries(work: Work, endpoint_id: UUID, asked: Replay) -> Replayed:
    await work.get(EndpointRow, endpoint_id)
    low, high = range_of(asked.region)
    chosen = await work.rows(
        REPLAY,
        endpoint_id=endpoint_id,
        states=list(asked.states),
        types=asked.types,
        low=low,
        high=high,
        since=asked.since,
        after=place_of(asked.after).seq,
        most=MOST_REPLAYED,
    )
    if chosen:
        subjects = sorted({row["subject"] for row in chosen})
        await work.run(SCHEDULE_SUBJECTS, endpoint_id=endpoint_id, subjects=subjects, now=work.now)
    last = max((row["seq"] for row in chosen), default=0)
    more = len(chosen) == MOST_REPLAYED
    return Replayed(count=len(chosen), next_cursor=cursor_of(Place(seq=last)) if more else None)
