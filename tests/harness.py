"""The district under test: four services in one process, over real servers, with callers of every role."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import asyncpg
import httpx
from fastapi import FastAPI

import migrations
from deploy import keys
from services.gateway.edge.internal_tokens import Issuer
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of
from shared.core.settings import SERVICES, Service, Settings
from shared.feed.reader import Reader
from shared.governance.retention.use_cases import purge_all
from shared.jobs.queue import run_open_jobs
from shared.runtime.context import ServiceContext, owners_read_by
from shared.runtime.worker import Worker
from tests.documented import Documented

TEMPLATE = "fangxian"
PASSWORDS = {service: f"test-{service}" for service in SERVICES}
XINTANG = "350582005"

LIMITS = (
    *(f"requests_a_minute_per_{who}" for who in ("client", "resident", "staff", "machine")),
    "requests_in_flight",
)
"""Tests ask as fast as they can; what limits do has tests of its own."""

PATIENT = {"transaction_timeout_seconds": 60, "request_timeout_seconds": 120}
"""What is given up after so long is no test's business but those of giving up: the machine may be busy."""

RequestHook = Callable[[httpx.Request], Awaitable[None]]


def make_template(owner_url: str) -> None:
    """Migrate the database that every test worker's is cloned from."""
    migrations.upgrade(owner_url, PASSWORDS)


@dataclass(frozen=True)
class Database:
    """One test worker's database and keys."""

    owner_url: str
    redis_url: str
    keys: Path

    @classmethod
    @contextmanager
    def cloned(cls, owner_url: str, redis_url: str, name: str, directory: Path) -> Iterator[Self]:
        """Clone the template, and drop the clone at the end."""
        keys.make(directory / "keys")
        asyncio.run(_execute(_postgres(owner_url), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        asyncio.run(_execute(_postgres(owner_url), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
        own = owner_url.replace(f"/{TEMPLATE}?", f"/{name}?")
        asyncio.run(_execute(own, f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"))
        for service in SERVICES:
            asyncio.run(_execute(own, f"GRANT CONNECT ON DATABASE {name} TO fangxian_{service}"))
        yield cls(own, redis_url, directory / "keys")
        asyncio.run(_execute(_postgres(owner_url), f"DROP DATABASE {name} WITH (FORCE)"))

    def url_of(self, service: Service) -> str:
        """The database, as a service's login role."""
        rest = self.owner_url.split("@", 1)[1]
        return f"postgresql://fangxian_{service}:{PASSWORDS[service]}@{rest}"

    def settings(self, service: Service, **values: Any) -> Settings:
        """The settings of one service of the district under test."""
        given: dict[str, Any] = {
            "service": service,
            "database_url": self.url_of(service),
            "redis_url": self.redis_url,
            "keys": self.keys / service,
            "demonstration_ids": True,
            **dict.fromkeys(LIMITS, 1_000_000),
            **PATIENT,
            "region": XINTANG,
            "webhook_networks": ("127.0.0.0/8",),
            "wake_subscribers": False,
            **values,
        }
        return Settings(**given)


class Still(ServiceContext):
    """A context that looks at its keys when it is told to, and not by itself in the middle of a test."""

    async def start(self) -> None:
        """Open; who changes keys opens it again."""
        await self.open()


@dataclass
class District:
    """Four services, and whoever calls them."""

    database: Database
    apps: dict[str, FastAPI]
    contexts: dict[str, ServiceContext]
    workers: dict[str, Worker]
    _clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)
    _documented: dict[str, Documented] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def running(cls, database: Database) -> AsyncIterator[Self]:
        """Start all four APIs; their peers are each other."""
        transports: dict[str, Any] = {}
        apps, contexts, workers = {}, {}, {}
        async with AsyncExitStack() as stack:
            for service in SERVICES:
                context = Still.build(database.settings(service), transports)
                app = import_module(f"services.{service}.app").create_app(context.settings, context)
                await stack.enter_async_context(app.router.lifespan_context(app))
                transports[service] = httpx.ASGITransport(app, raise_app_exceptions=False)
                apps[service], contexts[service] = app, context
                workers[service] = import_module(f"services.{service}.worker").WORKER
            district = cls(database, apps, contexts, workers)
            for service in SERVICES:
                district._clients[service] = await stack.enter_async_context(
                    httpx.AsyncClient(transport=transports[service], base_url=f"http://{service}")
                )
            yield district

    async def empty(self) -> None:
        """Empty all tables but what migrations filled (`kept`)."""
        statement = EMPTY.replace("{services}", f"{{{','.join(SERVICES)}}}").replace("{kept}", f"{{{','.join(KEPT)}}}")
        await _execute(self.database.owner_url, statement)

    async def sql(self, statement: str, *values: Any) -> list[Any]:
        """Ask the database as its owner, to check what no API shows."""
        connection = await asyncpg.connect(self.database.owner_url)
        try:
            found: list[Any] = await connection.fetch(statement, *values)
            return found
        finally:
            await connection.close()

    async def know_laboratories(self, *parties: str) -> None:
        """Let testing know these laboratories, as if the command had registered their clients."""
        for party in parties:
            await self.sql("INSERT INTO testing.laboratories VALUES (gen_random_uuid(), $1, true)", party)

    async def settle(self) -> None:
        """Run all jobs and drain all feeds until nothing is left to do."""
        for _ in range(20):
            moved = 0
            for service in SERVICES:
                await run_open_jobs(self.contexts[service], self.workers[service].jobs)
                moved += await self.drain(service)
            if moved == 0:
                return
        raise AssertionError("the feeds do not come to rest")

    async def drain(self, service: Service) -> int:
        """Drain all feeds a service reads, of all that is committed by now."""
        await self.until_served()
        readers = [
            Reader(self.contexts[service], owner, self.workers[service].reactions) for owner in owners_read_by(service)
        ]
        return sum([await reader.drain() for reader in readers])

    async def purge(self, service: Service) -> dict[str, int]:
        """Remove what a service has kept for long enough; how many rows of each kind."""
        return await purge_all(self.contexts[service], self.workers[service].purges)

    async def until_served(self) -> None:
        """Wait until no transaction of the cluster, another test worker's perhaps, holds back what is committed."""
        (here,) = await self.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid")
        for _ in range(2_000):
            (found,) = await self.sql("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid")
            if found["xid"] >= here["xid"]:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("a transaction holds up the feeds")

    def caller(
        self,
        service: Service,
        role: Role,
        *,
        scope: str | None = None,
        residents: tuple[UUID, ...] = (),
        party: str = "",
        subject: str = "",
    ) -> httpx.AsyncClient:
        """A client that calls a service as the edge would on behalf of somebody. Each POST gets an idempotency key."""
        actor = Actor(subject or f"test:{role.label}", role, residents=residents, party=party)
        actor = replace(actor, range=range_of(XINTANG if scope is None else scope))
        signer = self.contexts["gateway"].signer
        first = f"Bearer {signer.token_for(service, actor)}"

        async def sign(request: httpx.Request) -> None:
            if request.headers.get("authorization") == first:  # one lives for a minute, and a test may take longer
                request.headers["authorization"] = f"Bearer {signer.token_for(service, actor)}"

        region = None if role is Role.RESIDENT else XINTANG if scope is None else scope
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.apps[service], raise_app_exceptions=True),
            base_url=f"http://{service}",
            headers={"authorization": first, "accept-language": "en"},
            event_hooks={
                "request": [_with_key, sign, *self._outside(service, actor, region)],
                "response": [self.documented(service).check],
            },
        )

    def _outside(self, service: Service, actor: Actor, region: str | None) -> list[RequestHook]:
        """The gateway knows its callers by its own issuer's tokens; a fresh one each time, for tests move the clock."""
        issuer = Issuer.from_files(self.contexts["gateway"].settings.keys)

        async def sign(request: httpx.Request) -> None:
            request.headers["authorization"] = f"Bearer {issuer.issue(actor, region, 3600)}"

        return [sign] if service == "gateway" else []

    def documented(self, service: Service) -> Documented:
        """What a service says that it answers: each answer is held to it."""
        return self._documented.setdefault(service, Documented(self.apps[service]))

    def move_clock(self, **by: float) -> None:
        """Move the clock of all four services: `move_clock(hours=3)`."""
        clock.move(timedelta(**by))

    def clock_right(self) -> None:
        """Put the clock right again."""
        clock.move(timedelta(0))


async def _with_key(request: httpx.Request) -> None:
    if request.method == "POST":
        request.headers.setdefault("idempotency-key", str(new_id()))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


KEPT = (
    "alembic_version",
    "data_keys",
    "feed_epochs",
    "installation",
    "issuer_keys",
    "policies",
    "protocols",
    "regions",
    "retention_periods",
)
"""Tables whose first rows come by migration, or when a service starts."""

# Rows are deleted where there are any: truncating hundreds of partitions takes longer than most tests.
EMPTY = """
    DO $$
    DECLARE
        name text;
        has_rows boolean;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN
            SELECT oid::regclass::text FROM pg_class
            WHERE relnamespace = ANY('{services}'::regnamespace[]) AND relkind IN ('r', 'p') AND NOT relispartition
              AND NOT (relname = ANY('{kept}'))
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO has_rows;
            IF has_rows THEN
                EXECUTE format('DELETE FROM %s', name);
            END IF;
        END LOOP;
        DELETE FROM registry.regions WHERE length(region) > 12 OR uuid_extract_version(id) = 7;
    END $$
"""


def _postgres(owner_url: str) -> str:
    return owner_url.replace(f"/{TEMPLATE}?", "/postgres?")
