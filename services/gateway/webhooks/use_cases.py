"""Webhooks: how endpoints are made, changed and sent events again."""

from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select, text

from services.gateway.messages.rules import with_new_secret
from services.gateway.webhooks.schemas import (
    Endpoint,
    EndpointMade,
    NewEndpoint,
    Replay,
    Replayed,
)
from services.gateway.webhooks.tables import SCHEDULE_SUBJECTS, EndpointRow
from shared.contracts.resource import owner_of
from shared.core.regions import range_of
from shared.database.paging import Position, cursor_of, position_of
from shared.database.unit_of_work import UnitOfWork
from shared.feed import log
from shared.http.addresses import literal, may_be_called
from shared.problems import Fault, InvalidInput, LocalizedText, Problem

MOST_ENDPOINTS = 100
MOST_REPLAYED = 5_000
"""Fewer than the parked deliveries with which an endpoint receives no new events (session.py)."""

NOT_HTTPS = LocalizedText(zh="正式运行时只能推送到 https 网址", en="In production events go to https addresses only")


class EndpointsFull(Problem):
    """The installation has as many endpoints as it can serve well."""

    status = 409
    code = "webhooks_full"
    title = LocalizedText(zh="推送地址数量已达上限", en="The limit for webhook endpoints is reached")
    fix = LocalizedText(zh="请删除不再使用的推送地址", en="Remove endpoints that are no longer used")


class WebhookAddressForbidden(Problem):
    """The URL leads to this machine or to a private network."""

    status = 422
    code = "webhook_address_forbidden"
    title = LocalizedText(zh="推送地址不可用", en="Webhooks cannot be sent to this address")
    fix = LocalizedText(
        zh="请使用公网地址；如属政务内网，请由运维人员将其网段加入 FANGXIAN_WEBHOOK_NETWORKS",
        en="Use a public address; for an intranet, ask the operator to add its network to FANGXIAN_WEBHOOK_NETWORKS",
    )


# A new endpoint begins where the gateway itself has read to, so that it misses nothing from now on. The gateway's own
# feed has an end at once.
START_CURSORS = text("""
    INSERT INTO webhook_cursors (endpoint_id, owner, lane, cursor)
    SELECT :endpoint_id, owner, lane, CASE owner WHEN 'gateway' THEN :end ELSE coalesce(read.cursor, '0.0.0') END
    FROM unnest(CAST(:owners AS text[])) AS owner CROSS JOIN unnest(CAST(:priorities AS text[])) AS lane
    LEFT JOIN feed_cursors AS read USING (owner, lane)
""")

# The oldest first. The next request continues after the last of these. MATERIALIZED, because PostgreSQL would otherwise
# run a subquery with a limit and a lock again for each row that it compares.
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


async def add_webhook(uow: UnitOfWork, new: NewEndpoint) -> EndpointMade:
    uow.require_within(new.region)
    # A host name is checked each time it is resolved, when events are sent.
    address = literal(urlsplit(new.url).hostname or "")
    if address is not None and not may_be_called(address, uow.context.settings.webhook_networks):
        raise WebhookAddressForbidden(at="/url")
    if uow.context.settings.production and urlsplit(new.url).scheme != "https":
        raise InvalidInput(errors=[Fault("url_not_https", NOT_HTTPS, at="/url")])
    if (await uow.session.execute(select(func.count()).select_from(EndpointRow))).scalar_one() >= MOST_ENDPOINTS:
        raise EndpointsFull()
    secret, kept = with_new_secret(None, uow.now)
    row = uow.add(
        EndpointRow(
            url=new.url,
            types=new.types,
            region=new.region,
            party=uow.actor.machine,
            owner=uow.actor.subject,
            secrets=kept,
        )
    )
    await uow.session.flush()
    owners = sorted({owner_of(type_name) for type_name in new.types})
    end = str(await log.horizon(uow.session))
    await uow.run(START_CURSORS, endpoint_id=row.id, owners=owners, priorities=list(log.PRIORITIES), end=end)
    return EndpointMade(**row.public().model_dump(), secret=secret)


async def rotate_webhook(uow: UnitOfWork, endpoint_id: UUID) -> EndpointMade:
    row = await uow.lock(EndpointRow, endpoint_id)
    secret, row.secrets = with_new_secret(row.secrets, uow.now)
    await uow.session.flush()
    return EndpointMade(**row.public().model_dump(), secret=secret)


async def disable_webhook(uow: UnitOfWork, endpoint_id: UUID) -> Endpoint:
    row = await uow.lock(EndpointRow, endpoint_id)
    if row.state == "enabled":
        row.state, row.disabled_reason = "disabled", "by_hand"
        await uow.session.flush()
    return row.public()


async def enable_webhook(uow: UnitOfWork, endpoint_id: UUID) -> Endpoint:
    row = await uow.lock(EndpointRow, endpoint_id)
    uow.require_within(row.region)
    row.state, row.disabled_reason, row.owner = "enabled", None, uow.actor.subject
    row.failures, row.failing_since, row.next_attempt_at = 0, None, None
    await uow.session.flush()
    return row.public()


async def replay_deliveries(uow: UnitOfWork, endpoint_id: UUID, query: Replay) -> Replayed:
    await uow.get(EndpointRow, endpoint_id)
    low, high = range_of(query.region)
    chosen = await uow.rows(
        REPLAY,
        endpoint_id=endpoint_id,
        states=list(query.states),
        types=query.types,
        low=low,
        high=high,
        since=query.since,
        after=position_of(query.after).seq,
        most=MOST_REPLAYED,
    )
    if chosen:
        subjects = sorted({row["subject"] for row in chosen})
        await uow.run(SCHEDULE_SUBJECTS, endpoint_id=endpoint_id, subjects=subjects, now=uow.now)
    last = max((row["seq"] for row in chosen), default=0)
    more = len(chosen) == MOST_REPLAYED
    return Replayed(count=len(chosen), next_cursor=cursor_of(Position(seq=last)) if more else None)
