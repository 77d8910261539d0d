"""What one process holds: settings, engine, keys, peers. Everything else is given to functions.

A house is made without touching the network, opened when its process starts, and opens again by itself whenever the
database was away.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import structlog
from sqlalchemy import text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import clock, data_keys, sealing
from shared.actors import Actor, system
from shared.db import declare_tables, engine_of
from shared.http.client import Peers
from shared.idle_connections import IdleConnections
from shared.key_files import Watched
from shared.masters import Masters, masters_of
from shared.problems import Unavailable
from shared.sealing import Keyring, index_keys_of, month_of
from shared.settings import SERVICES, Service, Settings
from shared.tokens import Signer
from shared.wakes import Waker, lane_of
from shared.work import Work

log = structlog.get_logger()

KEYS_LOOK_SECONDS = 2.0
"""How soon a key that was made, rotated or destroyed elsewhere is followed. No restart is needed."""
RETRY_SECONDS = 1.0
CONNECTIONS_LOOK_SECONDS = 10.0
"""How long a connection to the database must have been unneeded before it is closed."""

OVER = text("SELECT EXISTS (SELECT FROM sunset) AS is_over")
RESTORED = text("""
    SELECT count(*) = 0 FROM feed_epochs
    WHERE epoch = (SELECT max(epoch) FROM feed_epochs)
      AND system_identifier = (SELECT system_identifier FROM pg_control_system())
""")


@dataclass
class House:
    """One process of one service."""

    settings: Settings
    engine: AsyncEngine
    keyring: Keyring
    masters: Masters
    signer: Signer
    peers: Peers
    waker: Waker
    is_open: bool = False
    is_over: bool = False
    """Whether the emergency is over: looked at with the keys, every two seconds."""
    can_look: bool = True
    """Whether the last look at the data keys went well: what goes wrong is said once, not every two seconds."""
    refreshed: list[Callable[[], None]] = field(default_factory=list)
    """What follows its key files: called every two seconds, and again when it failed."""
    idle_connections: IdleConnections = field(init=False)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.idle_connections = IdleConnections(self.engine)

    @classmethod
    def build(cls, settings: Settings, transports: Mapping[str, Any] | None = None) -> Self:
        """Make a house from settings. `transports` replaces the network to peers, in tests."""
        declare_tables(settings.service)
        signer = Signer.from_files(settings.service, settings.keys)
        index_file = settings.keys / "index.key"
        keyring, index = Keyring(settings.service, index_keys_of(index_file)), Watched(index_file)

        def follow_index() -> None:
            if index.changed():
                keyring.index_keys = index_keys_of(index_file)

        return cls(
            settings=settings,
            engine=engine_of(settings),
            keyring=keyring,
            masters=masters_of(settings),
            signer=signer,
            refreshed=[signer.refresh, follow_index],
            peers=Peers(settings, signer, {} if transports is None else transports),
            waker=Waker(settings.redis_url.get_secret_value(), subscribers_of(settings)),
        )

    def work(self, actor: Actor, operation: str = "", now: datetime | None = None) -> Work:
        """A transaction on behalf of an actor."""
        if not self.is_open:
            raise Unavailable()
        return Work(self, actor, operation, now)

    def system_work(self, operation: str = "") -> Work:
        """A transaction of the service itself."""
        return self.work(system(self.settings.service), operation)

    def wake_subscribers(self, lanes: Iterable[str]) -> None:
        """Tell the subscribers that there is something to read in these lanes. Never waits, never fails."""
        if self.settings.wake_subscribers and self.settings.publish:
            self.waker.wake(lanes=[lane_of(self.settings.service, lane) for lane in lanes])

    async def start(self) -> None:
        """Open, and keep open, in the background."""
        await self._try_to_open()
        self._tasks += [asyncio.create_task(self._keep_open()), asyncio.create_task(self._close_connections())]

    async def open(self) -> None:
        """Load the data keys, making this and the next month's where they are missing."""
        sealing.use(self.keyring)
        this, service = month_of(clock.now()), self.settings.service
        rows = await self._data_keys()
        # Outside of any transaction: the master key may be in a KMS.
        made = [
            (key_id, month, await data_keys.wrapped_new(self.masters, service, key_id))
            for month, key_id in data_keys.missing(rows, data_keys.months_needed(this)).items()
        ]
        if made:
            async with Work(self, system(service), "keys") as work:
                await data_keys.make(work, made)
            rows = await self._data_keys()
        await data_keys.take(self.keyring, self.masters, rows, this)
        self.is_open = True

    async def _data_keys(self) -> Sequence[RowMapping]:
        async with Work(self, system(self.settings.service), "keys") as work:
            restored = (await work.session.execute(RESTORED)).scalar_one()
            if restored:
                raise Unavailable()
            self.is_over = (await work.rows(OVER))[0]["is_over"]
            return await work.rows(data_keys.KEYS)

    async def _keep_open(self) -> None:
        while True:
            await asyncio.sleep(KEYS_LOOK_SECONDS * self.settings.key_waits if self.is_open else RETRY_SECONDS)
            self._refresh()
            await self._try_to_open()

    async def _close_connections(self) -> None:
        while True:
            await asyncio.sleep(CONNECTIONS_LOOK_SECONDS)
            try:
                await self.idle_connections.close_unneeded()
            except Exception as error:  # the database is away: there is nothing to close
                log.info("connections.not_closed", error=type(error).__name__)

    def _refresh(self) -> None:
        for refresh in self.refreshed:
            try:
                refresh()
            except (OSError, ValueError) as error:  # a file is half there: what was read before still holds
                log.error("keys.unreadable", error=type(error).__name__)

    async def _try_to_open(self) -> None:
        try:
            await self.open()
        except Exception as error:  # the database may be away in a hundred ways; each is met by trying again
            if self.can_look:
                log.warning("house.cannot_open", error=type(error).__name__)
            self.can_look = False
        else:
            self.can_look = True

    async def close(self) -> None:
        """Let go of everything, in order."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.waker.close()
        await self.peers.close()
        await self.engine.dispose()


SUBSCRIBERS: dict[str, Sequence[str]] = {
    "registry": ("testing", "observation", "gateway"),
    "testing": ("observation", "gateway"),
    "observation": ("testing", "gateway"),
    "gateway": ("testing", "observation", "gateway"),
}
"""Who reads whose feed. The gateway reads its own too: webhooks are readers like any other."""


def subscribers_of(settings: Settings) -> Sequence[str]:
    """The services whose workers a commit of this one wakes."""
    return SUBSCRIBERS[settings.service]


def owners_read_by(service: Service) -> list[Service]:
    """The services whose feeds a service reads."""
    return [owner for owner in SERVICES if service in SUBSCRIBERS[owner]]
