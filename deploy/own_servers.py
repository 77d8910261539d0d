"""Servers of one's own, by `DATABASE_URL` and `REDIS_URL`: can they be reached? Told without their passwords."""

import asyncio
import re
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from deploy.trouble import Trouble

SECONDS = 5
OLDEST_POSTGRES = 18
REDIS_SCHEMES = ("redis", "rediss", "unix")


def as_role(url: str, role: str | None = None, password: str | None = None) -> str:
    """A database's address in the plain `postgresql:` form, as another role if one is given."""
    parts = urlsplit(re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url))
    if parts.scheme != "postgresql":
        raise Trouble("DATABASE_URL should begin with postgresql://.")
    if role is None:
        return urlunsplit(parts)
    server = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password or '', safe='')}@{server}"))


def place_of(url: str) -> str:
    """Host and port, or the socket's directory."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0] or parts.path
    return host or "localhost"


def check_postgres(owner_url: str) -> None:
    """Trouble if the database cannot be reached, or is too old."""
    version = asyncio.run(_postgres_version(owner_url))
    if version < OLDEST_POSTGRES:
        raise Trouble(
            f"PostgreSQL at {place_of(owner_url)} (DATABASE_URL) is version {version}; {OLDEST_POSTGRES} is needed."
        )


async def _postgres_version(owner_url: str) -> int:
    import asyncpg

    try:
        connection = await asyncpg.connect(owner_url, timeout=SECONDS)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Trouble(
            f"PostgreSQL at {place_of(owner_url)} (DATABASE_URL) cannot be reached: {_reason(error)}."
        ) from None
    try:
        return int(connection.get_server_version().major)
    finally:
        await connection.close()


def check_redis(url: str) -> None:
    """Trouble if Redis cannot be reached."""
    import redis

    if urlsplit(url).scheme not in REDIS_SCHEMES:
        raise Trouble("REDIS_URL should begin with redis://, rediss:// or unix://.")
    try:
        with redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS) as connection:
            connection.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        raise Trouble(f"Redis at {place_of(url)} (REDIS_URL) cannot be reached: {_reason(error)}.") from None


def _reason(error: BaseException) -> str:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first_line.rstrip(".") or type(error).__name__
