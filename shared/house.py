"""What one process holds: settings, engine, keys, peers. Everything else is given to functions.

A house is made without touching the network, opened when its process starts, and opens again by itself whenever the
database was away.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import clock, sealing
from shared.actors import Actor, system
from shared.db import engine_of
from shared.http.client import Peers
from shared.problems import Unavailable
from shared.sealing import Keyring, month_of, next_month
from shared.settings import SERVICES, Service, Settings
from shared.tokens import Signer
from shared.wakes import Waker
from shared.work import Work

log = structlog.get_logger()

KEYS_CHECK_SECONDS = 600
RETRY_SECONDS = 1.0

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
    signer: Signer
    peers: Peers
    waker: Waker
    is_open: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @classmethod
    def build(cls, settings: Settings, transports: Mapping[str, Any] | None = None) -> Self:
        """Make a house from settings. `transports` replaces the network to peers, in tests."""
        signer = Signer.from_files(settings.service, settings.keys)
        return cls(
            settings=settings,
            engine=engine_of(settings),
            keyring=Keyring.from_files(settings.service, settings.keys),
            signer=signer,
            peers=Peers(settings, signer, {} if transports is None else transports),
            waker=Waker(settings.redis_url.get_secret_value(), subscribers_of(settings)),
        )

    def work(self, actor: Actor, operation: str = "", now: datetime | None = None) -> Work:
        """A transaction on behalf of an actor."""
        if not self.is_open:
            raise Unavailable()
        return Work(self, actor, operation, now)

    def system_work(self, operation: str = "", scope: str = "") -> Work:
        """A transaction of the service itself."""
        return self.work(system(self.settings.service, scope), operation)

    def wake_subscribers(self) -> None:
        """Tell the subscribers that there is something to read. Never waits, never fails."""
        if self.settings.wake_subscribers and self.settings.publish:
            self.waker.wake()

    async def start(self) -> None:
        """Open, and keep open, in the background."""
        await self._try_to_open()
        self._tasks.append(asyncio.create_task(self._keep_open()))

    async def open(self) -> None:
        """Load the data keys of this and the next month, making them where they are missing."""
        sealing.use(self.keyring)
        this = month_of(clock.now())
        work = Work(self, system(self.settings.service), "keys")
        async with work:
            restored = (await work.session.execute(RESTORED)).scalar_one()
            if restored:
                raise Unavailable()
            for month in (this, next_month(this)):
                await work.session.execute(
                    text("INSERT INTO data_keys (month, wrapped) VALUES (:month, :wrapped) ON CONFLICT DO NOTHING"),
                    {"month": month, "wrapped": self.keyring.new_wrapped_key(month)},
                )
        async with Work(self, system(self.settings.service), "keys") as work:
            for month, wrapped in await work.session.execute(text("SELECT month, wrapped FROM data_keys")):
                if not self.keyring.has(month):
                    self.keyring.unwrap(month, wrapped)
        self.keyring.current = this
        self.is_open = True

    async def _keep_open(self) -> None:
        while True:
            await asyncio.sleep(KEYS_CHECK_SECONDS if self.is_open else RETRY_SECONDS)
            await self._try_to_open()

    async def _try_to_open(self) -> None:
        try:
            await self.open()
        except Exception as error:  # the database may be away in a hundred ways; each is met by trying again
            log.warning("house.cannot_open", error=type(error).__name__)

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
    "gateway": ("observation", "gateway"),
}
"""Who reads whose feed. The gateway reads its own too: webhooks are readers like any other."""


def subscribers_of(settings: Settings) -> Sequence[str]:
    """The services whose workers a commit of this one wakes."""
    return SUBSCRIBERS[settings.service]


def owners_read_by(service: Service) -> list[Service]:
    """The services whose feeds a service reads."""
    return [owner for owner in SERVICES if service in SUBSCRIBERS[owner]]
