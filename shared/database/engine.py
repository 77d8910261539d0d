"""The database of a service: its own schema, rows with version numbers, one engine per process.

The login role of a service has no permissions of its own. Each transaction sets one of the service's group roles and a
scope (`shared/database/unit_of_work.py`). Row-level security then restricts every query, so that no query can omit the
scope.
"""

from collections.abc import Mapping
from typing import Literal

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.core.actors import DatabaseRole
from shared.core.regions import NOTHING
from shared.core.settings import Service, Settings
from shared.observability import tracing

GROUP_ROLES: tuple[DatabaseRole, ...] = ("staff", "resident", "machine", "door", "system")

AuditRole = Literal["auditor", "sealer"]
AUDIT_ROLES: tuple[AuditRole, ...] = ("auditor", "sealer")
"""The roles that read and chain the audit. Residents read entries about themselves under their own role."""

EMPTY_SCOPE: Mapping[str, str] = {
    "scope.low": NOTHING[0],
    "scope.high": NOTHING[1],
    "scope.residents": "{}",
    "scope.party": "",
}
"""The scope of a transaction that has set none. It sees no rows."""


def group_of(service: Service, role: DatabaseRole | AuditRole) -> str:
    """Return the group role for a transaction of a service."""
    return f"fangxian_{service}_{role}"


def engine_of(settings: Settings) -> AsyncEngine:
    """Build the engine of the process. It opens connections when they are first needed."""
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(
        url,
        pool_size=settings.database_pool,
        max_overflow=0,
        pool_timeout=settings.transaction_timeout_seconds,
        pool_pre_ping=True,
        pool_use_lifo=True,  # the last used connection has prepared statements and warm caches
        hide_parameters=True,  # errors quote statements, and parameters can be personal data
        connect_args={"timeout": 5, "server_settings": session_settings(settings)},
    )
    tracing.follow_engine(engine)
    return engine


def session_settings(settings: Settings) -> Mapping[str, str]:
    """Return the session settings of every connection, also of the direct connections of hot routes."""
    milliseconds = str(int(settings.transaction_timeout_seconds * 1000))
    return {
        "search_path": settings.service,
        "application_name": f"fangxian-{settings.service}",
        "transaction_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "timezone": "UTC",
        "jit": "off",
        **EMPTY_SCOPE,  # only a superuser could make it the default of the login as well
    }
