"""The recipe for nginx, as it is in deploy/protecting, run by a real nginx in front of a real gateway."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from services.gateway.app import create_app
from tests.deploy.starting import a_port
from tests.gateway.behind_reverse_proxies import (
    Checked,
    Site,
    checked,
    checked_without_gateway,
    listening,
    recipe,
    silent,
    site,
)
from tests.harness import District

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx")

AROUND = """
daemon off;
master_process off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/recipe.conf;
}}
"""


@contextmanager
def nginx(place: Path, here: Site, gateway: int) -> Iterator[int]:
    """nginx with the recipe; only ports are replaced."""
    port = a_port()
    place.mkdir(exist_ok=True)
    text = recipe("nginx.conf", {**here.ports, "gateway": gateway, "proxy": port})
    (place / "recipe.conf").write_text(text, encoding="utf-8")
    (place / "nginx.conf").write_text(AROUND.format(place=place), encoding="utf-8")
    assert NGINX is not None
    process = subprocess.Popen(
        [NGINX, "-p", str(place), "-e", str(place / "error.log"), "-c", str(place / "nginx.conf")],
        stderr=subprocess.PIPE,
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def gateway(district: District) -> ASGIApp:
    """A gateway with the limits of an installation that sets none, but for an address that may ask five times."""
    context = district.contexts["gateway"]
    limits = {"requests_a_minute_per_client": 5, "requests_a_minute_per_resident": 5, "requests_in_flight": 2}
    return create_app(context.settings.model_copy(update=limits), context)


@pytest.fixture
async def here(district: District, gateway: ASGIApp) -> AsyncIterator[Site]:
    async with site(district, gateway) as made:
        yield made


def differences(found: Checked) -> list[tuple[str, object, object]]:
    return [one for one in found if one[1] != one[2]]


async def test_nginx_lets_through_who_verified_and_everybody_to_a_doctor(here: Site, tmp_path: Path) -> None:
    with nginx(tmp_path, here, here.gateway) as port:
        await listening(port)
        found = await checked(here, port)
    assert differences(found) == []
    assert len(found) > 70


async def test_nginx_without_the_gateway_closes_the_hall_and_opens_the_clinic(here: Site, tmp_path: Path) -> None:
    async with silent() as hanging:
        for name, gateway in (("down", a_port()), ("hanging", hanging)):
            with nginx(tmp_path / name, here, gateway) as port:
                await listening(port)
                found = await checked_without_gateway(here, port, closed=[503])
            assert differences(found) == [], name
