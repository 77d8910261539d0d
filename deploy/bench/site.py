"""The measured installation: `fangxian up` on a separate directory, with each process on its core."""

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from deploy import data as directories
from deploy import status
from deploy.bench.cores import Cores, Meter
from deploy.demo.installation import running
from deploy.demo.memory import MemoryMonitor
from deploy.demo.population import TOWNSHIP
from deploy.feed import installed
from deploy.trouble import Trouble
from deploy.up import Installation, options
from services.gateway.edge.internal_tokens import Issuer
from shared.core.actors import Actor, Role
from shared.core.regions import range_of
from shared.core.settings import SERVICES, Service
from shared.crypto.tokens import Signer
from shared.runtime.context import ServiceContext

SETTINGS = {
    "FANGXIAN_DEMONSTRATION_IDS": "true",
    # One address sends the requests of a whole city.
    **{f"FANGXIAN_REQUESTS_A_MINUTE_PER_{who}": "100000000" for who in ("CLIENT", "RESIDENT", "STAFF", "MACHINE")},
    "FANGXIAN_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
    "FANGXIAN_DEVELOPMENT_ISSUER": "true",
    # Measure the embedded servers, even if the environment names others.
    "DATABASE_URL": "",
    "REDIS_URL": "",
}
EIGHT: Collection[str] = (*SERVICES, *(f"{service}-worker" for service in SERVICES))
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Site:
    """What runs, and where."""

    installation: Installation
    cores: Cores
    url: str
    pids: Mapping[str, int]

    def port(self, service: Service) -> int:
        """Where a service's API listens."""
        return self.installation.options.ports[service]

    def pin(self, servers: Collection[str] = EIGHT) -> None:
        """Pin only these processes to the server's core; all others, including this one, use the other core."""
        for name, pid in self.pids.items():
            self.cores.pin(pid, server=name in servers)
        self.cores.pin_self()

    def meter(self) -> Meter:
        """Watches both cores and all processes from now on."""
        return Meter(self.cores, self.pids)

    def memory(self) -> dict[str, int]:
        """Bytes each process takes, with all it has started: of what is shared, its share (PSS)."""
        return {name: MemoryMonitor(pid).now() for name, pid in self.pids.items()}

    def check_unharmed(self) -> None:
        """Raise Trouble if a process was restarted, because the new one may be on any core."""
        if _pids(self.installation.directory.path) != self.pids:
            raise Trouble("A process was restarted during the measurement. See its log.")

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """The database as its owner, to fill backdrops, measure floors and look."""
        connection = await asyncpg.connect(self.installation.owner_url)
        try:
            await connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def context(self, service: Service) -> AsyncIterator[ServiceContext]:
        """Open the context of a service in this process. It publishes and reads exactly as the service does."""
        context = ServiceContext.build(self.installation.settings(service))
        await context.start()
        try:
            yield context
        finally:
            await context.close()

    def inside(self, service: Service, role: Role, region: str = TOWNSHIP) -> str:
        """An internal token, as the edge would give one for a caller."""
        signer = Signer.from_files("gateway", self.installation.directory.keys / "gateway")
        return signer.token_for(service, Actor(f"bench:{role.label}", role, range=range_of(region)))

    @property
    def issuer(self) -> Issuer:
        """Who gives out tokens to people and machines."""
        return Issuer.from_files(self.installation.directory.keys / "gateway")


@contextmanager
def started(cores: Cores) -> Iterator[Site]:
    """Start everything, on a data directory that is gone afterwards."""
    path = Path(tempfile.gettempdir()) / f"fangxian-bench-{secrets.token_hex(6)}"
    cores.free_self()
    try:
        with running(path, None, SETTINGS) as found:
            installation = installed(options(path, environment={}))
            site = Site(installation, cores, found.url, _pids(path))
            cores.pin(found.pid, server=False)
            site.pin()
            yield site
    finally:
        cores.free_self()
        with contextlib.suppress(FileNotFoundError):
            if path.exists():
                directories.remove(directories.at(path))


def _pids(path: Path) -> dict[str, int]:
    state: Mapping[str, Any] = status.read(directories.at(path).status) or {"processes": []}
    return {process["name"]: process["pid"] for process in state["processes"]}
