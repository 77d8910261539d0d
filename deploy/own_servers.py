"""Check the operator's own servers (`DATABASE_URL`, `REDIS_URL`). Messages never contain their passwords."""

import asyncio
import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from deploy.trouble import Trouble
from shared.core.settings import SERVICES

SECONDS = 5
OLDEST_POSTGRES = 18
KEPT_KEYS = tuple(f"{service}.data_keys" for service in SERVICES)
"""Tables with data keys that the master key wraps; empty until the service has encrypted something."""
REDIS_SCHEMES = ("redis", "rediss", "unix")


def as_role(url: str, role: str | None = None, password: str | None = None) -> str:
    """Return a database address in the plain `postgresql:` form, with another role if one is given."""
    parts = urlsplit(re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url))
    if parts.scheme != "postgresql":
        raise Trouble("DATABASE_URL must begin with postgresql://.")
    if role is None:
        return urlunsplit(parts)
    server = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password or '', safe='')}@{server}"))


def host_of(url: str) -> str:
    """Return host and port, or the directory of the socket."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0] or parts.path
    return host or "localhost"


def check_postgres(owner_url: str, keys: Path | None = None) -> None:
    """Raise Trouble if the database cannot be reached, is too old, or has encrypted data but `keys` do not exist."""
    version, is_sealed = asyncio.run(_look_at_postgres(owner_url))
    if is_sealed and keys and not keys.exists():
        raise Trouble(
            f"PostgreSQL at {host_of(owner_url)} (DATABASE_URL) contains data that other keys encrypted. "
            f"Restore those keys into {keys} from a backup, or choose the --data that has them."
        )
    if version < OLDEST_POSTGRES:
        raise Trouble(
            f"PostgreSQL at {host_of(owner_url)} (DATABASE_URL) is version {version}, but {OLDEST_POSTGRES} is needed."
        )


async def _look_at_postgres(owner_url: str) -> tuple[int, bool]:
    import asyncpg

    try:
        connection = await asyncpg.connect(owner_url, timeout=SECONDS)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Trouble(
            f"PostgreSQL at {host_of(owner_url)} (DATABASE_URL) cannot be reached: {_reason(error)}."
        ) from None
    try:
        holders = [table for table in KEPT_KEYS if await connection.fetchval("SELECT to_regclass($1)", table)]
        sealed = [await connection.fetchval(f"TABLE {table} LIMIT 1") is not None for table in holders]
        return int(connection.get_server_version().major), any(sealed)
    finally:
        await connection.close()


def check_redis(url: str) -> None:
    """Raise Trouble if Redis cannot be reached."""
    import redis

    if urlsplit(url).scheme not in REDIS_SCHEMES:
        raise Trouble("REDIS_URL must begin with redis://, rediss:// or unix://.")
    try:
        with redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS) as connection:
            connection.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        raise Trouble(f"Redis at {host_of(url)} (REDIS_URL) cannot be reached: {_reason(error)}.") from None


def _reason(error: BaseException) -> str:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first_line.rstrip(".") or type(error).__name__
