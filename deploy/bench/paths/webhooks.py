"""Path 9: events for one endpoint, signed, delivered and recorded, compared with a plain loop of the same HTTP client.

The events are changes of regions without residents. The registry's own code publishes them at once, and the worker of
the gateway reads, signs, sends and records them. The receiver is a minimal server in this process, on the other core.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deploy.bench.page import Aim, Figure, per_second
from deploy.bench.site import EIGHT, Site
from deploy.bench.timing import Effort, until
from deploy.demo.parties import Party
from deploy.demo.population import TOWNSHIP
from shared.contracts.registry import Region
from shared.core.ids import new_id

AIM = Aim("at least", 0.5)
WITHIN_SECONDS = 120.0
ROUNDS = 3
ANSWER = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"


@dataclass
class Receiver:
    """Counts what is posted to it, and answers 204."""

    url: str = ""
    count: int = 0
    last_at: float = 0.0
    size: int = 0
    seen: set[bytes] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                self.size = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
                await reader.readexactly(self.size)
                _, found, rest = head.partition(b"webhook-id: ")
                if found:
                    self.seen.add(rest.split(b"\r\n", 1)[0])
                self.count += 1
                self.last_at = time.perf_counter()
                writer.write(ANSWER)
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield receiver


async def measure(site: Site, command: Party, effort: Effort) -> list[Figure]:
    """Publish, wait until all is received, and compare."""
    site.pin(EIGHT)
    async with receiving() as receiver:
        endpoint = {"url": receiver.url, "types": [Region.type], "region": TOWNSHIP}
        await command.post("/gateway/v1/webhooks", endpoint, once=True)
        await _deliver(site, receiver, 50)
        meter = site.meter()
        delivered = max([await _deliver(site, receiver, effort.deliveries) for _ in range(ROUNDS)])
        busy = meter.busy()
        bare = max([await _bare(site, receiver, effort.deliveries) for _ in range(ROUNDS)])
    return [
        Figure(
            "webhooks",
            f"{effort.deliveries:,} webhooks delivered, signed and noted",
            per_second(delivered),
            f"bare loop of httpx {per_second(bare)}",
            delivered / bare,
            AIM,
            [f"one endpoint, from the commit to the last receipt, the best of {ROUNDS}; {busy}"],
            {"delivered_per_second": delivered, "bare_per_second": bare, "bytes": receiver.size, **busy.numbers()},
        )
    ]


async def _deliver(site: Site, receiver: Receiver, count: int) -> float:
    """Deliveries a second."""
    receiver.seen.clear()
    async with site.context("registry") as registry:
        async with registry.system_unit_of_work("bench") as uow:
            regions = [
                Region(id=new_id(), version=1, region=TOWNSHIP, name="一", level="township") for _ in range(count)
            ]
            uow.publish_all(regions, change="bench")
        began = time.perf_counter()

        async def all_there() -> bool:
            return len(receiver.seen) >= count

        await until(all_there, seconds=WITHIN_SECONDS, every=0.01, what=f"{count} webhooks received")
    return count / (receiver.last_at - began)


async def _bare(site: Site, receiver: Receiver, count: int) -> float:
    """POSTs a second of a bare loop on the server's core."""
    command = (sys.executable, "-m", "deploy.bench.floor_client", receiver.url, str(count), str(receiver.size))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    site.cores.pin(process.pid, server=True)
    output, _ = await process.communicate()
    return count / float(output)
