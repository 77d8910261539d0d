"""Reading the owners' feeds for endpoints: whole batches for one, and a shared look for all that are idle."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self, cast
from uuid import UUID, uuid5

import httpx
import msgspec
import structlog
from sqlalchemy.engine import RowMapping

from services.gateway.webhooks.sending import Event
from shared.actors import system
from shared.contracts.resource import owner_of, schema_path
from shared.feed.log import Cursor
from shared.feed.routes import MORE, NEXT
from shared.house import House
from shared.problems import Problem
from shared.settings import Service, Settings

BATCH = 200
IDLE_MOVE_SECONDS = 60.0
NEWS = "news"

logger = structlog.get_logger()


class Place(NamedTuple):
    """Where one endpoint is in one lane of one owner's log."""

    endpoint_id: UUID
    owner: Service
    lane: str


class Batch(NamedTuple):
    """Entries after a place, and the place after them."""

    events: list[Event]
    following: str
    more: bool


@dataclass(frozen=True)
class Origin:
    """How events name this installation: by its address, or by the id it was given once where it has none."""

    address: str
    public_url: str
    installation: UUID

    @classmethod
    def of(cls, settings: Settings, installation: UUID) -> Self:
        """The origin by the settings of a process."""
        return cls(settings.issuer_url, settings.public_url.rstrip("/"), installation)

    def source(self, owner: str) -> str:
        """The CloudEvents `source` of a service's events: absolute, and different in every installation."""
        return f"{self.public_url}/{owner}" if self.public_url else uuid5(self.installation, owner).urn

    def dataschema(self, type_name: str) -> str:
        """Where the JSON Schema of a type is served."""
        return self.address + schema_path(type_name)


class Gap(Exception):  # noqa: N818 - says what happened
    """What is asked for is past the owner's retention."""


class _Head(msgspec.Struct):
    id: str
    type: str
    subject: UUID
    version: int
    region: str
    cursor: str


async def read(
    house: House, owner: Service, lane: str, after: str, types: Sequence[str], origin: Origin, limit: int = BATCH
) -> Batch:
    """A batch of one owner's feed, as events of this installation.

    Raises `Gap`, or the problem of a peer that does not answer.
    """
    params = {"types": list(types), "after": after, "lane": lane, "limit": str(limit)}
    response = await house.peers.call(owner, "GET", "/internal/feed", system("gateway"), params=params)
    if response.status_code == httpx.codes.GONE:
        raise Gap
    response.raise_for_status()
    entries = msgspec.json.decode(response.content, type=list[msgspec.Raw])
    return Batch([_event(entry, origin) for entry in entries], response.headers[NEXT], response.headers[MORE] == "1")


async def horizon(house: House, owner: Service) -> str:
    """The end of an owner's log."""
    response = await house.peers.call(owner, "GET", "/internal/horizon", system("gateway"))
    return str(response.raise_for_status().json()["cursor"])


def of_owner(types: Iterable[str], owner: str) -> list[str]:
    """The types that an owner publishes."""
    return [type_name for type_name in types if owner_of(type_name) == owner]


def _event(entry: msgspec.Raw, origin: Origin) -> Event:
    head = msgspec.json.decode(entry, type=_Head)
    members = msgspec.json.decode(entry, type=dict[str, msgspec.Raw])
    del members["cursor"]  # ours, and of no use to others
    named = {"source": origin.source(owner_of(head.type)), "dataschema": origin.dataschema(head.type)}
    body = msgspec.json.encode(members | named).decode()
    return Event(head.id, head.type, head.subject, head.version, head.region, body, head.cursor)


@dataclass
class Idle:
    """How far idle endpoints have been found to have nothing to read, beyond what is stored.

    They are kept together, so that one look at a feed serves all of them.
    """

    house: House
    origin: Origin
    _found: dict[Place, tuple[str, str]] = field(default_factory=dict)
    _moved: dict[Place, float] = field(default_factory=dict)

    def position(self, place: Place, stored: str) -> str:
        """Where to look on from."""
        was, reached = self._found.get(place, (stored, stored))
        return reached if was == stored else stored

    def reached(self, place: Place, stored: str, following: str) -> None:
        """There is nothing for this endpoint up to a place."""
        self._found[place] = (stored, following)

    def forget(self, known: set[UUID]) -> None:
        """Keep only the endpoints that still exist."""
        for place in [place for place in self._found if place.endpoint_id not in known]:
            self._found.pop(place)
            self._moved.pop(place, None)

    async def look(self, stored: Mapping[Place, str], types: Mapping[UUID, Sequence[str]]) -> set[UUID]:
        """Which of these endpoints have something to read."""
        groups: dict[tuple[Service, str, str], list[Place]] = {}
        for place, cursor in stored.items():
            groups.setdefault((place.owner, place.lane, self.position(place, cursor)), []).append(place)
        busy: set[UUID] = set()
        idle: dict[tuple[Service, str], list[tuple[list[Place], str, str]]] = {}
        for (owner, lane, after), places in groups.items():
            wanted = {one for place in places for one in of_owner(types[place.endpoint_id], owner)}
            following = await self._news(owner, lane, after, sorted(wanted))
            if following is NEWS:
                busy |= {place.endpoint_id for place in places}
            elif following is not None:
                idle.setdefault((owner, lane), []).append((places, after, following))
        for found in idle.values():
            self._gather(found, stored)
        return busy

    async def _news(self, owner: Service, lane: str, after: str, types: Sequence[str]) -> str | None:
        """NEWS, or the place up to which there is nothing; None while the owner does not answer."""
        try:
            batch = await read(self.house, owner, lane, after, types, self.origin, limit=1)
        except Gap:
            return NEWS
        except (Problem, httpx.HTTPError) as error:
            logger.warning("webhooks.feed_away", owner=owner, error=type(error).__name__)
            return None
        return NEWS if batch.events or batch.more else batch.following

    def _gather(self, found: Sequence[tuple[list[Place], str, str]], stored: Mapping[Place, str]) -> None:
        """All that saw nothing up to somewhere saw nothing up to the nearest of these places."""
        nearest = min((following for _, _, following in found), key=Cursor.parse)
        for places, after, _ in found:
            for place in places:
                self.reached(place, stored[place], max(nearest, after, key=Cursor.parse))

    def due_moves(self, stored: Mapping[Place, str]) -> dict[Place, tuple[str, str]]:
        """What should be stored now, so that retention never overtakes an idle endpoint: from where, to where."""
        now = time.monotonic()
        moves = {}
        for place, cursor in stored.items():
            reached = self.position(place, cursor)
            if reached != cursor and now - self._moved.setdefault(place, now) >= IDLE_MOVE_SECONDS:
                self._moved[place] = now
                moves[place] = (cursor, reached)
        return moves


def place_of(row: RowMapping) -> Place:
    """The place that a row of cursors is about."""
    return Place(row["endpoint_id"], cast("Service", row["owner"]), row["lane"])
