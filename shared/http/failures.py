"""Map exceptions of the database, the network and libraries to problems."""

import errno
import socket
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import asyncpg
import httpx
import redis.exceptions
import sqlalchemy.exc

from shared.crypto.encryption import CannotOpenError
from shared.problems import (
    Conflict,
    DataDestroyed,
    DataUnreadable,
    Forbidden,
    InternalError,
    Problem,
    TooManyRequests,
    Unavailable,
    UnstorableInput,
    UpstreamFailed,
    UpstreamTimeout,
    for_constraint,
)

_PASSING = (
    "08",  # connection exceptions
    "53",  # insufficient resources: too many connections, disk full, out of memory
    "57P",  # shutdown, crash, cannot connect now, idle session timeout
    "25006",  # read-only: a replica that is being promoted
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "40",  # serialization failure, deadlock, outcome unknown
    "55P03",  # lock not available
    "57014",  # statement_timeout
)
"""SQLSTATEs, or prefixes of them, of failures after which a retry may succeed (PostgreSQL, appendix A)."""

_UNSTORABLE = frozenset({"22001", "22003", "22007", "22008", "22021", "22P02", "22P05"})
"""SQLSTATEs of values that no column can store: too long, out of range, not a date, a NUL, a broken encoding."""

_UNIQUE, _EXCLUSION, _FOREIGN_KEY = "23505", "23P01", "23503"

_UNREACHABLE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT})

_TRANSIENT = (Unavailable, UpstreamFailed, UpstreamTimeout, TooManyRequests)


def problem_of(error: BaseException) -> Problem:
    """Return the problem for an exception. It is InternalError if the service itself is at fault."""
    for cause in causes(error):
        if isinstance(cause, AssertionError):  # a programming error, even if another exception caused it
            break
        problem = (
            cause if isinstance(cause, Problem) else _of_encryption(cause) or _of_database(cause) or _of_network(cause)
        )
        if problem:
            return problem
    return InternalError()


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed: after a lost connection, a deadlock, a timeout, or a service that is down."""
    return isinstance(problem_of(error), _TRANSIENT)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, outermost first. A group of one exception counts as that exception."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup) and len(current.exceptions) == 1:
            current = current.exceptions[0]
        else:
            current = current.__cause__ or _orig(current)


def _orig(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else None


def account_of(error: BaseException) -> dict[str, Any]:
    """Return what a log may contain of an exception: types, code locations, SQLSTATE and constraint; no messages.

    Messages of the database and of libraries repeat values, which may be personal data.
    """
    account: dict[str, Any] = {"error": [f"{type(one).__module__}.{type(one).__qualname__}" for one in causes(error)]}
    for name in ("sqlstate", "constraint_name", "table_name"):
        value = _attribute(error, name)
        if value:
            account[name] = value
    account["trace"] = [line for one in causes(error) for line in _frames(one.__traceback__)]
    return account


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]


def _attribute(error: BaseException, name: str) -> str | None:
    values = (getattr(cause, name, None) for cause in causes(error))
    return next((value for value in values if isinstance(value, str) and value), None)


def _of_encryption(error: BaseException) -> Problem | None:
    if not isinstance(error, CannotOpenError):
        return None
    return DataDestroyed() if error.why == "destroyed" else DataUnreadable()


def _of_database(error: BaseException) -> Problem | None:
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
        return Unavailable()
    if isinstance(error, sqlalchemy.exc.TimeoutError):  # no connection of the pool became free
        return Unavailable()
    if isinstance(error, asyncpg.PostgresError):
        return _of_sqlstate(error, error.sqlstate or "")
    if isinstance(error, asyncpg.InterfaceError):
        return _of_client(error)
    return None


def _of_sqlstate(error: asyncpg.PostgresError, sqlstate: str) -> Problem | None:
    if sqlstate.startswith("23"):
        return _of_constraint(sqlstate, getattr(error, "constraint_name", None) or "")
    if sqlstate.startswith(_PASSING):
        return Unavailable()
    if sqlstate in _UNSTORABLE or _does_not_fit(error):
        return UnstorableInput()
    if sqlstate == "42501" and "row-level security" in str(error):
        return Forbidden()
    return None


def _of_constraint(sqlstate: str, name: str) -> Problem | None:
    declared = for_constraint(name)
    if declared:
        return declared.unspecified()
    return Conflict() if sqlstate in (_UNIQUE, _EXCLUSION, _FOREIGN_KEY) else None


def _does_not_fit(error: asyncpg.PostgresError) -> bool:
    """Whether the driver refused a value as too large or not encodable. A wrong type is a programming error."""
    return isinstance(error, asyncpg.DataError) and isinstance(error.__cause__, OverflowError | UnicodeError)


def _of_client(error: asyncpg.InterfaceError) -> Problem | None:
    gone = ("connection is closed", "connection was closed", "pool is clos", "connection has been released")
    return Unavailable() if any(words in str(error) for words in gone) else None


def _of_network(error: BaseException) -> Problem | None:
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout()
    if isinstance(error, httpx.TransportError):
        return UpstreamFailed()
    if isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return Unavailable()
    if isinstance(error, TimeoutError | ConnectionError | socket.gaierror):
        return Unavailable()
    if isinstance(error, OSError) and (error.errno in _UNREACHABLE or _while_connecting(error)):
        return Unavailable()
    return None


def _while_connecting(error: OSError) -> bool:
    """Whether connecting to PostgreSQL raised it. The socket file of a stopped server does not exist."""
    places = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__))
    return "asyncpg.connect_utils" in places
