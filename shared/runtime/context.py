"""What one process owns: settings, database engine, keys, clients of other services.

It is built without network access. It opens when its process starts, and opens again by itself after the database was
unavailable.
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

from shared.core import clock
from shared.core.actors import Actor, system
from shared.core.settings import SERVICES, Service, Settings
from shared.crypto import data_keys, encryption
from shared.crypto.encryption import Keyring, index_keys_of, month_of
from shared.crypto.key_files import Watched
from shared.crypto.master_keys import KeyWrapper, key_wrapper_of
from shared.crypto.tokens import Signer
from shared.database.engine import engine_of
from shared.database.idle_connections import IdleConnections
from shared.database.rows import declare_tables
from shared.database.unit_of_work import UnitOfWork
from shared.http.client import ServiceClients
from shared.jobs.notifications import WorkerNotifier, loop_of
from shared.problems import Unavailable

log = structlog.get_logger()

KEYS_LOOK_SECONDS = 2.0
"""How often keys are read again, to notice a key that another process made, rotated or destroyed. No restart."""
RETRY_SECONDS = 1.0
CONNECTIONS_LOOK_SECONDS = 10.0
"""How long a connection to the database must be unused before it is closed."""

SELECT_IS_OVER = text("SELECT EXISTS (SELECT FROM sunset) AS is_over")
SELECT_IS_RESTORED = text("""
    SELECT count(*) = 0 FROM feed_epochs
    WHERE epoch = (SELECT max(epoch) FROM feed_epochs)
      AND system_identifier = (SELECT system_identifier FROM pg_control_system())
""")


@dataclass
class ServiceContext:
    """One process of one service."""

    settings: Settings
    engine: AsyncEngine
    keyring: Keyring
    key_wrapper: KeyWrapper
    signer: Signer
    service_clients: ServiceClients
    notifier: WorkerNotifier
    is_open: bool = False
    is_over: bool = False
    """Whether the emergency is over. Read with the keys, every two seconds."""
    can_look: bool = True
    """Whether the last read of the data keys succeeded. A failure is logged once and not every two seconds."""
    refreshed: list[Callable[[], None]] = field(default_factory=list)
    """Functions that reload key files. Each is called every two seconds, also after a failure."""
    idle_connections: IdleConnections = field(init=False)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.idle_connections = IdleConnections(self.engine)

    @classmethod
    def build(cls, settings: Settings, transports: Mapping[str, Any] | None = None) -> Self:
        """Build it from settings. In tests `transports` replaces the network to other services."""
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
            key_wrapper=key_wrapper_of(settings),
            signer=signer,
            refreshed=[signer.refresh, follow_index],
            service_clients=ServiceClients(settings, signer, {} if transports is None else transports),
            notifier=WorkerNotifier(settings.redis_url.get_secret_value(), subscribers_of(settings)),
        )

    def unit_of_work(self, actor: Actor, operation: str = "", now: datetime | None = None) -> UnitOfWork:
        """Start a transaction on behalf of an actor. Raises `Unavailable` until this process is open."""
        if not self.is_open:
            raise Unavailable()
        return UnitOfWork(self, actor, operation, now)

    def system_unit_of_work(self, operation: str = "") -> UnitOfWork:
        """Start a transaction on behalf of the service itself."""
        return self.unit_of_work(system(self.settings.service), operation)

    def wake_subscribers(self, priorities: Iterable[str]) -> None:
        """Notify the subscribers that these lanes have new entries. Does not wait and does not raise."""
        if self.settings.wake_subscribers and self.settings.publish:
            self.notifier.wake(loop_names=[loop_of(self.settings.service, priority) for priority in priorities])

    async def start(self) -> None:
        """Open, and start the background tasks that keep it open."""
        await self._try_to_open()
        self._tasks += [asyncio.create_task(self._keep_open()), asyncio.create_task(self._close_connections())]

    async def open(self) -> None:
        """Load the data keys. Create the keys of this month and the next where they are missing."""
        encryption.use(self.keyring)
        this, service = month_of(clock.now()), self.settings.service
        rows = await self._data_keys()
        # Outside any transaction, because wrapping may call a KMS over the network.
        made = [
            (key_id, month, await data_keys.wrapped_new(self.key_wrapper, service, key_id))
            for month, key_id in data_keys.missing(rows, data_keys.months_needed(this)).items()
        ]
        if made:
            async with UnitOfWork(self, system(service), "keys") as uow:
                await data_keys.make(uow, made)
            rows = await self._data_keys()
        await data_keys.take(self.keyring, self.key_wrapper, rows, this)
        self.is_open = True

    async def _data_keys(self) -> Sequence[RowMapping]:
        async with UnitOfWork(self, system(self.settings.service), "keys") as uow:
            restored = (await uow.session.execute(SELECT_IS_RESTORED)).scalar_one()
            if restored:
                raise Unavailable()
            self.is_over = (await uow.rows(SELECT_IS_OVER))[0]["is_over"]
            return await uow.rows(data_keys.SELECT_KEYS)

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
            except Exception as error:  # the database is unavailable, so there is nothing to close
                log.info("connections.not_closed", error=type(error).__name__)

    def _refresh(self) -> None:
        for refresh in self.refreshed:
            try:
                refresh()
            except (OSError, ValueError) as error:  # a file is incomplete: keep the keys that were read before
                log.error("keys.unreadable", error=type(error).__name__)

    async def _try_to_open(self) -> None:
        try:
            await self.open()
        except Exception as error:  # the database can fail in many ways; the remedy is always to retry
            if self.can_look:
                log.warning("context.cannot_open", error=type(error).__name__)
            self.can_look = False
        else:
            self.can_look = True

    async def close(self) -> None:
        """Stop the tasks and close all connections, in order."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.notifier.close()
        await self.service_clients.close()
        await self.engine.dispose()


SUBSCRIBERS: dict[str, Sequence[str]] = {
    "registry": ("testing", "observation", "gateway"),
    "testing": ("observation", "gateway"),
    "observation": ("testing", "gateway"),
    "gateway": ("testing", "observation", "gateway"),
}
"""The services that read each feed. The gateway also reads its own, because webhooks deliver from it."""


def subscribers_of(settings: Settings) -> Sequence[str]:
    """Return the services whose workers a commit of this service wakes."""
    return SUBSCRIBERS[settings.service]


def owners_read_by(service: Service) -> list[Service]:
    """Return the services whose feeds this service reads."""
    return [owner for owner in SERVICES if service in SUBSCRIBERS[owner]]
