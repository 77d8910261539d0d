"""The API of the gateway without an audit, to measure the cost of the audit: `python -m deploy.bench.untraced DATA`.

It exists only here. No setting of a service can switch the audit off.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from deploy.bench.floors import Floor
from deploy.bench.site import SETTINGS, Site
from deploy.children import listen, serve
from deploy.embedded.server import die_with_parent
from deploy.feed import installed
from deploy.up import options
from services.gateway.app import create_app
from shared.audit import entries
from shared.audit.trail import Trail


@contextlib.contextmanager
def untraced(site: Site) -> Iterator[Floor]:
    """Run it beside the real one, on the same core."""
    path = str(site.installation.directory.path)
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "deploy.bench.untraced", path],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | SETTINGS,
        preexec_fn=lambda: die_with_parent(signal.SIGKILL),
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        site.cores.pin(process.pid, server=True)
        yield Floor("untraced", port, process.pid)
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


async def _nothing(session: AsyncSession, operation: str, trail: Trail) -> None:
    """No entry."""


def main() -> None:
    """Serve until SIGTERM; the port is the first line on stdout."""
    settings = installed(options(Path(sys.argv[1]), environment={})).settings("gateway")
    entries.write = _nothing
    (listener,) = listen([0]).values()
    print(listener.getsockname()[1], flush=True)
    serve(create_app(settings), listener)


if __name__ == "__main__":
    main()
