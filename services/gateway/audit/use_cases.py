"""Use cases of the audits of all services. The services are called in parallel; one that fails is listed as missing."""

import asyncio
import heapq
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

import httpx
import msgspec
from sqlalchemy import text

from services.gateway.audit.schemas import Heads, WhoLooked
from services.gateway.verifications import use_cases as verifications
from shared.audit.heads import Head, head_now, public_keys
from shared.audit.routes import HEADS, looked_at
from shared.audit.schemas import LookedAt
from shared.audit.search import Position, position_of, who_looked_here
from shared.core.actors import Actor, Role, system
from shared.core.settings import SERVICES, Service
from shared.database.paging import InvalidCursor, Listed
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language, UpstreamFailed, UpstreamTimeout
from shared.runtime.context import ServiceContext

OTHER_SERVICES: tuple[Service, ...] = tuple(service for service in SERVICES if service != "gateway")
DOORS = "doors"
"""Key of the doors in a cursor. Their accesses are the visits, which have no audit entries of their own."""
WITHIN_SECONDS = 2.0

MACHINES = {role.label for role in Role if role in Role.MACHINE | Role.DOOR}
# A machine acts for the party of its client, a door for its service point. If several clients have the same party, the
# first gives the name.
SELECT_PARTY_NAMES = text("""
    SELECT given.role, given.party, coalesce(
        (SELECT name FROM points WHERE points.id::text = given.party),
        (SELECT name FROM clients WHERE clients.role = given.role AND clients.party = given.party ORDER BY seq LIMIT 1)
    ) AS name
    FROM unnest(CAST(:roles AS text[]), CAST(:parties AS text[])) AS given (role, party)
    WHERE EXISTS (SELECT FROM points WHERE points.id::text = given.party)
       OR EXISTS (SELECT FROM clients WHERE clients.role = given.role AND clients.party = given.party)
""")


async def get_audit_heads(uow: UnitOfWork, day: date) -> Heads:
    """Return the heads of a day from every service that answers."""
    context = uow.context
    await uow.act_as(system("gateway"))
    # Call the other services first, because this work takes a connection only with its first statement.
    answers = await _ask_all(context, uow.actor, dict.fromkeys(OTHER_SERVICES, HEADS), {"day": day.isoformat()})
    heads = {name: Head.model_validate(answer) for name, answer in answers.items() if answer is not None}
    heads["gateway"] = await head_now(uow, day)
    return Heads(
        day=day,
        heads=[heads[name] for name in SERVICES if name in heads],
        keys=public_keys(context.signer),
        missing=[name for name in OTHER_SERVICES if name not in heads],
    )


async def who_looked_at_me(uow: UnitOfWork, cursor: str | None, limit: int, language: Language) -> WhoLooked:
    """Return who accessed the caller's data, merged from all services. The cursor holds a position for each service."""
    after = _positions(cursor)
    answers = await asyncio.gather(
        *(_looked(uow, service, after.get(service), limit, language) for service in OTHER_SERVICES)
    )
    pages = {service: page for service, page in zip(OTHER_SERVICES, answers, strict=True) if page is not None}
    own = await who_looked_here(uow, position_of(after.get("gateway")), limit, language)
    visits = await verifications.looked_at_doors(uow, after.get(DOORS), limit, language)
    every = [*pages.values(), own, visits]
    merged = heapq.merge(*(page.items for page in every), key=lambda item: item.at, reverse=True)
    items = list(islice(merged, limit))
    more = any(page.next_cursor for page in every) or len(items) < sum(len(page.items) for page in every)
    after.update(map(_position, items))
    return WhoLooked(
        items=await _named(uow, items),
        next_cursor=_cursor(after) if more else None,
        missing=[service for service in OTHER_SERVICES if service not in pages],
    )


async def _named(uow: UnitOfWork, items: Sequence[LookedAt]) -> list[LookedAt]:
    """Replace the organisations of machines and doors by the names registered in the gateway, where known."""
    parties = {(item.role, item.party) for item in items if item.role in MACHINES and item.party}
    if not parties:
        return list(items)
    async with uow.unscoped():
        roles, names_of_parties = [role for role, _ in parties], [party for _, party in parties]
        rows = await uow.rows(SELECT_PARTY_NAMES, roles=roles, parties=names_of_parties)
    names = {(row["role"], row["party"]): row["name"] for row in rows}
    return [
        item.model_copy(update={"organisation": names.get((item.role, item.party), item.organisation)})
        for item in items
    ]


async def _looked(
    uow: UnitOfWork, service: Service, cursor: str | None, limit: int, language: Language
) -> Listed[LookedAt] | None:
    params = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    answers = await _ask_all(uow.context, uow.actor, {service: looked_at(service)}, params, language)
    return None if answers[service] is None else Listed[LookedAt].model_validate(answers[service])


async def _ask_all(
    context: ServiceContext,
    actor: Actor,
    paths: Mapping[Service, str],
    params: Mapping[str, str],
    language: Language = "zh-CN",
) -> dict[Service, Any]:
    """Return the answers of some services; None for a service that is down, late or refuses."""
    deadline = time.monotonic() + WITHIN_SECONDS
    headers = {"accept-language": language}

    async def ask(service: Service, path: str) -> Any:
        try:
            answer = await context.service_clients.call(
                service, "GET", path, actor, deadline=deadline, params=params, headers=headers
            )
        except (UpstreamFailed, UpstreamTimeout):
            return None
        return answer.json() if answer.status_code == httpx.codes.OK else None

    answers = await asyncio.gather(*(ask(service, path) for service, path in paths.items()))
    return dict(zip(paths, answers, strict=True))


def _position(item: LookedAt) -> tuple[str, str]:
    """Return the service of an entry, and the cursor of this service after the entry."""
    if item.id.startswith(verifications.VISIT):
        return DOORS, verifications.place_at_doors(item)
    return item.service, Position(item.at, int(item.id.rpartition("-")[2])).cursor()


def _cursor(places: Mapping[str, str]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(places)).rstrip(b"=").decode()


def _positions(cursor: str | None) -> dict[str, str]:
    """Decode the position of each service in a cursor. Raises `InvalidCursor`."""
    if cursor is None:
        return {}
    try:
        places = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=dict[str, str])
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidCursor() from error
    for service, place in places.items():
        if service == DOORS:
            verifications.position_of(place)
        elif service in SERVICES:
            position_of(place)
        else:
            raise InvalidCursor()
    return places
