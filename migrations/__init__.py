"""Migrations: one alembic history per service schema, the roles they are used under, and the epoch of the feed.

Run by the owner of the database (`DATABASE_URL`), never by a service.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from migrations import regions
from migrations.roles import make_roles
from shared.core.settings import SERVICES, Service

T = TypeVar("T")

LOCK = 0x66616E67  # one migration at a time in a database

HERE = Path(__file__).parent

BEGIN_EPOCH = """
    INSERT INTO {schema}.feed_epochs (epoch, system_identifier)
    SELECT coalesce(max(epoch), 0) + 1, system.system_identifier
    FROM pg_control_system() AS system LEFT JOIN {schema}.feed_epochs ON true
    GROUP BY system.system_identifier
    HAVING coalesce(
        (SELECT system_identifier FROM {schema}.feed_epochs ORDER BY epoch DESC LIMIT 1) <> system.system_identifier,
        true
    )
"""


def upgrade(owner_url: str, passwords: Mapping[str, str], *, sample: bool = True) -> None:
    """Bring all schemas to the newest version, make or mend the runtime roles, and begin a new feed epoch if restored.

    `passwords` are those of the login roles, by service. Each schema moves in one transaction: nothing is half made.
    `sample` says whether the regions of the demonstration are loaded where there is no community at all.
    """
    asyncio.run(_with_connection(owner_url, lambda connection: _upgrade(connection, passwords, sample)))


def with_owner(owner_url: str, act: Callable[[Connection], T]) -> T:
    """What the owner does in one transaction."""
    done: list[T] = []
    asyncio.run(_with_connection(owner_url, lambda connection: done.append(act(connection))))
    return done[0]


def downgrade(owner_url: str, service: Service, revision: str) -> None:
    """Take one schema back to a revision (`base` for nothing at all)."""
    asyncio.run(
        _with_connection(owner_url, lambda connection: command.downgrade(_config(service, connection), revision))
    )


def version_problem(owner_url: str) -> str | None:
    """A sentence if the database was made by a newer version than this one, else None."""
    found: list[str] = []

    def look(connection: Connection) -> None:
        for service in SERVICES:
            known = {script.revision for script in ScriptDirectory.from_config(_config(service, None)).walk_revisions()}
            found.extend(f"{service} {revision}" for revision in current(connection, service) if revision not in known)

    asyncio.run(_with_connection(owner_url, look))
    if not found:
        return None
    return f"The database was made by a newer version ({', '.join(found)}): install that version, or restore a backup."


def pending(owner_url: str) -> list[str]:
    """The services whose schema is not at the newest version."""
    found: list[str] = []

    def look(connection: Connection) -> None:
        for service in SERVICES:
            head = ScriptDirectory.from_config(_config(service, None)).get_current_head()
            if current(connection, service) != ((head,) if head else ()):
                found.append(service)

    asyncio.run(_with_connection(owner_url, look))
    return found


def current(connection: Connection, service: Service) -> tuple[str, ...]:
    """The revisions a schema is at; none if it does not exist."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": service})
    return context.get_current_heads()


def _upgrade(connection: Connection, passwords: Mapping[str, str], sample: bool) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
    connection.commit()
    try:
        make_roles(connection, passwords)
        connection.commit()
        for service in SERVICES:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {service}"))
            connection.commit()
            command.upgrade(_config(service, connection), "head")
            connection.execute(text(BEGIN_EPOCH.format(schema=service)))
            if service == "registry":
                regions.load_shipped(connection, sample=sample)
            if service == "gateway":
                connection.execute(text("SELECT gateway.begin_epoch_of_visits()"))
            connection.execute(text(f"SELECT {service}.keep_partitions(14), {service}.keep_audit_partitions()"))
            connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})


def _config(service: Service, connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("version_locations", str(HERE / service / "versions"))
    config.set_main_option("path_separator", "os")
    config.attributes.update({"service": service, "connection": connection})
    return config


async def _with_connection(owner_url: str, act: Any) -> None:
    url = make_url(owner_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, connect_args={"timeout": 5, "server_settings": {"jit": "off"}})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(act)
            await connection.commit()
    finally:
        await engine.dispose()
