"""`fangxian keys list|revoke|destroy` on a running installation: what ends with a key, and what goes on."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import key_versions
from deploy.demo.population import TOWNSHIP
from shared.core import clock
from shared.core.ids import new_id
from shared.core.settings import SERVICES
from shared.crypto.encryption import month_of
from shared.crypto.key_files import decoded
from tests.days import until_a_day_lasts
from tests.faults.site import KEYS_ARE_SEEN_SOON, Site, installed, until
from tests.registry.people import SHATANG, number, person

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]

RESIDENTS = "/registry/v1/residents"
SOON_SECONDS = 10
REVEAL = {"fields": ["name"], "purpose": "correction", "reason": "to see whether it is gone"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with installed(**KEYS_ARE_SEEN_SOON) as running:
        yield running


async def typed(site: Site, words: str, *command: str) -> tuple[int, str]:
    """A command whose questions are answered."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "deploy.cli", *command, "--data", str(site.data)],
        input=words,
        capture_output=True,
        text=True,
        check=False,
        env=site.environment,
    )
    return done.returncode, done.stdout + done.stderr


class Staff:
    """Somebody of the command, with a token of this moment."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        grant = {"role": "command", "region": TOWNSHIP}
        given = await self.client.post("/gateway/v1/development/tokens", json=grant)
        headers = {"authorization": f"Bearer {given.json()['access_token']}", "idempotency-key": str(new_id())}
        return await self.client.request(method, path, headers=headers, **content)

    async def register(self, place: int) -> str:
        said = await self.ask("POST", RESIDENTS, json=person(place))
        assert said.status_code == 202, said.text

        async def settled() -> Any:
            request = (await self.ask("GET", said.headers["location"])).json()
            return request if request["state"] == "settled" else None

        return str((await until("it is settled", settled))["resident_id"])

    async def shown(self, id_: str) -> tuple[Any, ...]:
        answer = await self.ask("GET", f"{RESIDENTS}/{id_}")
        assert answer.status_code == 200, answer.text
        return tuple(answer.json()[name] for name in ("name", "document_number", "phone", "address", "region"))


@pytest.fixture
async def staff(site: Site):
    async with httpx.AsyncClient(base_url=site.url, timeout=15, trust_env=False) as client:
        yield Staff(client)


def secrets_in(keys: Path) -> set[str]:
    """Every secret member of every key file."""
    found = set()
    for kind in ("master", "index", "issuer", "code", *SERVICES):
        found |= {str(one.jwk.get("k") or one.jwk.get("d")) for one in key_versions.versions(keys, kind)}
    return found


async def test_all_keys_are_listed_and_none_is_shown(site: Site) -> None:
    code, said = await site.operator("keys", "list")
    assert code == 0, said
    for kind in ("master", "index", "issuer", "code", *SERVICES, *(f"data {service}" for service in SERVICES)):
        assert kind in said
    until_the_minute = re.compile(r"\bdata registry +\d{6} +in use +\d{4}-\d\d-\d\d \d\d:\d\d +\w{8} *$", re.MULTILINE)
    assert until_the_minute.search(said), said
    assert not any(secret in said for secret in secrets_in(site.data / "keys"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("rotate", "nonsense"), "There is no kind of key nonsense"),
        (("revoke", "master", "deadbeef"), "There is no master key deadbeef"),
        (("revoke", "index", "x"), "An index key cannot be revoked"),
        (("revoke", "issuer", "issuer"), "only issuer key"),
        (("destroy",), "Use either --month"),
        (("destroy", "--all", "--month", "202101"), "Use either --month"),
    ],
    ids=["unknown kind", "unknown master", "index", "the only one", "destroy nothing", "destroy both"],
)
async def test_what_cannot_be_done_is_said_and_changes_nothing(
    site: Site, command: tuple[str, ...], words: str
) -> None:
    before = secrets_in(site.data / "keys")
    code, said = await site.operator("keys", *command)
    assert (code != 0, words in said) == (True, True), said
    assert secrets_in(site.data / "keys") == before


async def test_a_revoked_key_is_worth_nothing_at_once(site: Site, staff: Staff) -> None:
    grant = {"role": "command", "region": TOWNSHIP}
    old = (await staff.client.post("/gateway/v1/development/tokens", json=grant)).json()["access_token"]
    (first,) = key_versions.versions(site.data / "keys", "issuer")
    assert (await site.operator("keys", "rotate", "issuer", "--begins-in", "1"))[0] == 0

    async def the_new_one_signs() -> bool:
        new = (await staff.client.post("/gateway/v1/development/tokens", json=grant)).json()["access_token"]
        return bool(json.loads(decoded(new.split(".")[0]))["kid"] != first.id)

    async def the_old_is_refused() -> bool:
        return (await staff.client.get(RESIDENTS, headers=bearer)).status_code == 401

    await until("the new key signs", the_new_one_signs)
    bearer = {"authorization": f"Bearer {old}"}
    assert (await staff.client.get(RESIDENTS, headers=bearer)).status_code == 200
    assert (await site.operator("keys", "revoke", "issuer", first.id))[0] == 0
    await until("the revoked key is refused", the_old_is_refused, SOON_SECONDS)
    assert (await staff.ask("GET", RESIDENTS)).status_code == 200


async def test_a_master_key_that_still_wraps_is_kept_and_then_goes(site: Site, staff: Staff) -> None:
    keys = site.data / "keys"
    (first,) = key_versions.versions(keys, "master")
    code, said = await site.operator("keys", "revoke", "master", first.id)
    assert (code != 0, "Rotate it first" in said) == (True, True)
    assert (await site.operator("keys", "rotate", "master"))[0] == 0
    assert (await site.operator("keys", "revoke", "master", first.id))[0] == 0
    assert first.id not in {one.id for one in key_versions.versions(keys, "master")}
    await site.kill("registry")
    await site.is_whole()
    assert (await staff.ask("GET", RESIDENTS)).status_code == 200, "who starts anew opens what is there"


@pytest.mark.parametrize("words", ["no\n", "202001\nno\n", "\n\n"], ids=["at once", "at last", "nothing"])
async def test_nothing_is_destroyed_without_two_confirmations(site: Site, words: str) -> None:
    before = secrets_in(site.data / "keys")
    code, said = await typed(site, words, "keys", "destroy", "--month", "202001")
    assert code != 0, said
    assert secrets_in(site.data / "keys") == before


async def test_a_month_ends_and_all_else_goes_on(site: Site, staff: Staff) -> None:
    await asyncio.to_thread(until_a_day_lasts, 60)
    month = month_of(clock.now())
    gone = await staff.register(1)
    assert (await staff.shown(gone))[0] == "张**"
    (master,) = key_versions.versions(site.data / "keys", "master")
    code, said = await typed(site, f"{month}\ndestroy\n", "keys", "destroy", "--month", str(month))
    assert code == 0, said
    assert await staff.shown(gone) == (*("[destroyed]",) * 4, SHATANG)
    assert (await staff.ask("GET", RESIDENTS)).status_code == 200
    refused = await staff.ask("POST", f"{RESIDENTS}/{gone}/reveal", json=REVEAL)
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[-1]) == (410, "data_destroyed")
    assert (await staff.shown(await staff.register(2)))[0] == "张**", "who comes after is sealed with a new key"
    assert master.id not in {one.id for one in key_versions.versions(site.data / "keys", "master")}
    async with site.owner() as owner:
        assert await owner.fetchval(
            "SELECT count(*) FROM registry.data_keys WHERE month = $1 AND wrapped IS NULL", month
        )
    code, said = await site.operator("keys", "list")
    assert "destroyed" in said


async def test_everything_ends_and_the_system_still_answers(site: Site, staff: Staff) -> None:
    gone = await staff.register(3)
    code, said = await typed(site, "all\ndestroy\n", "keys", "destroy", "--all")
    assert code == 0, said
    assert await staff.shown(gone) == (*("[destroyed]",) * 4, SHATANG)
    search = f"{RESIDENTS}/search"
    assert (await staff.ask("POST", search, json={"document_number": number(3)})).json()["items"] == []
    again = await staff.register(3)
    assert again != gone
    assert (await staff.shown(again))[0] == "张**"
    for name in ("registry", "registry-worker"):
        await site.kill(name)
    await site.is_whole()
    assert await staff.shown(gone) == (*("[destroyed]",) * 4, SHATANG)
    assert (await staff.shown(again))[0] == "张**"
    assert not site.printed("registry", '"level": "error"')
