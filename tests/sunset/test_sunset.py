"""G9, rehearsed with real processes: all is destroyed but what a court holds, and it is reported."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import key_versions
from deploy.audit import verify_audit
from deploy.demo.population import TOWNSHIP
from shared.audit.canonical import canonical
from shared.core.ids import new_id
from shared.core.settings import SERVICES
from shared.crypto.data_keys import bound_to
from shared.crypto.master_keys import LocalKeyWrapper, MasterKeyError, Wrapped
from tests.canary import places
from tests.faults.site import KEYS_ARE_SEEN_SOON, Site, installed, until
from tests.registry.people import number, person

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]

RESIDENTS = "/registry/v1/residents"
SUNSET = "/gateway/v1/sunset"
ASKED = {"declaration": {"declared_on": "2022-12-26", "decree": "2022年第7号"}, "reason": "解除"}
SEALED = "SELECT id, name_sealed FROM registry.residents ORDER BY id"
KEYS = "SELECT id, master, wrapped FROM registry.data_keys WHERE wrapped IS NOT NULL"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with installed(**KEYS_ARE_SEEN_SOON) as running:
        yield running


@pytest.fixture(scope="module")
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, timeout=30, trust_env=False) as one:
        yield one


async def ask(client: httpx.AsyncClient, method: str, path: str, subject: str = "lin", **content: Any) -> Any:
    grant = {"role": "command", "region": TOWNSHIP, "subject": subject}
    given = await client.post("/gateway/v1/development/tokens", json=grant)
    assert given.is_success, given.text
    headers = {"authorization": f"Bearer {given.json()['access_token']}", "idempotency-key": str(new_id())}
    return await client.request(method, path, headers=headers, **content)


async def register(client: httpx.AsyncClient, place: int) -> str:
    said = await ask(client, "POST", RESIDENTS, json=person(place))
    assert said.status_code == 202, said.text

    async def settled() -> Any:
        request = (await ask(client, "GET", said.headers["location"])).json()
        return request if request["state"] == "settled" else None

    return str((await until("it is settled", settled))["resident_id"])


async def hold(client: httpx.AsyncClient, resident_id: str) -> None:
    body = {"resident_id": resident_id, "reason": "调取证据", "ordered_by": "晋江市人民法院"}
    made = await ask(client, "POST", "/registry/v1/legal-holds", json=body | {"until": "2099-01-01T00:00:00+08:00"})
    assert made.status_code == 201, made.text


async def declare(client: httpx.AsyncClient) -> None:
    proposal = (await ask(client, "POST", SUNSET, json=ASKED)).json()
    decision = {"content_hash": proposal["content_hash"], "reason": "同意"}
    path = f"/gateway/v1/proposals/{proposal['id']}/approve"
    assert (await ask(client, "POST", path, "wang", json=decision)).status_code == 200


async def residents_held_anywhere(site: Site, resident_id: str) -> set[str]:
    """The tables that speak of a person, but for the audit."""
    async with site.owner() as owner:
        return {
            place
            async for place, content in places.tables_of(owner)
            if resident_id.encode() in content and ".audit" not in place
        }


async def test_nothing_is_destroyed_before_two_people_said_so(site: Site, tmp_path: Path) -> None:
    code, said = await site.operator("sunset", "--out", str(tmp_path), "--yes")
    assert (code != 0, "Two people" in said) == (True, True), said


async def test_the_end(site: Site, client: httpx.AsyncClient, tmp_path: Path) -> None:
    gone, kept = await register(client, 1), await register(client, 2)
    await hold(client, kept)
    old = {kind: key_versions.versions(site.data / "keys", kind)[0] for kind in ("master", "index")}
    async with site.owner() as owner:
        backup = await owner.fetch(KEYS)
    await declare(client)

    async def is_over() -> bool:
        return bool((await ask(client, "POST", RESIDENTS, json={})).status_code == 410)

    await until("no more data is collected", is_over)
    await _killed_halfway(site, tmp_path)
    code, said = await site.operator("sunset", "--out", str(tmp_path), "--yes")
    assert code == 0, said

    report = json.loads((tmp_path / "sunset.json").read_bytes())
    await _is_reported(site, report, tmp_path)
    await _only_the_held_is_left(site, client, gone, kept)
    await _no_backup_opens(site, backup, old)
    again = await site.operator("sunset", "--out", str(tmp_path / "again"), "--yes")
    assert again[0] == 0, again[1]
    assert json.loads((tmp_path / "again" / "sunset.json").read_bytes()) == report


async def _killed_halfway(site: Site, out: Path) -> None:
    """Whoever is stopped in the middle of it calls it again."""
    async with site.owner() as owner, owner.transaction():
        await owner.execute("LOCK TABLE gateway.visits IN SHARE MODE")  # so far it comes, and no further
        process = await asyncio.create_subprocess_exec(
            *site_command(site, out),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=site.environment,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if b"testing: " in line:  # the registry's data are gone, the gateway's are not
                process.kill()
                break
        await process.wait()
    assert process.returncode == -9
    assert not (out / "sunset.json").exists()


def site_command(site: Site, out: Path) -> list[str]:
    options = ("--data", str(site.data), "--out", str(out), "--yes")
    return [sys.executable, "-u", "-m", "deploy.cli", "sunset", *options]


def page_in(out: Path) -> str:
    """What people read. The audit lies beside it."""
    assert list(out.glob("audit-*.jsonl"))
    return (out / "sunset.md").read_text(encoding="utf-8")


async def _is_reported(site: Site, report: dict[str, Any], out: Path) -> None:
    assert report["removed"]["registry"]["residents"] == 1, "counted once, though it was done twice"
    assert report["remains"]["registry"]["residents"] == {"rows": 1, "why": "legal hold"}
    assert [one["ordered_by"] for one in report["holds"]] == ["晋江市人民法院"]
    assert all(report["destroyed_keys"]["data"][service] for service in SERVICES)
    plain = {name: value for name, value in report.items() if name not in ("hash", "key", "signature")}
    assert report["hash"] == hashlib.sha256(canonical(plain)).hexdigest()
    keys = verify_audit.keys_of(json.loads((site.data / "keys" / "owner" / "services.jwks").read_text()))
    signed = {name: value for name, value in report.items() if name != "signature"}
    signature = verify_audit.unpadded(report["signature"])
    assert verify_audit.is_signed(keys[report["key"]], canonical(signed), signature)
    assert all(words in page_in(out) for words in ("已销毁的密钥", report["hash"], "晋江市人民法院"))
    async with site.owner() as owner:
        for service in SERVICES:
            where = "kind = 'purge' AND operation = 'fangxian sunset'"
            reason = await owner.fetchval(f"SELECT reason FROM {service}.audit WHERE {where}")
            assert report["hash"] in reason
    code, said = await site.operator("audit", "verify")
    assert code == 0, said


async def _only_the_held_is_left(site: Site, client: httpx.AsyncClient, gone: str, kept: str) -> None:
    assert await residents_held_anywhere(site, gone) == set()
    assert {"table registry.residents", "table gateway.codes"} <= await residents_held_anywhere(site, kept)
    assert (await ask(client, "GET", f"{RESIDENTS}/{gone}")).status_code == 404
    shown = (await ask(client, "GET", f"{RESIDENTS}/{kept}")).json()
    assert shown["name"].startswith("张"), "it opens still, with a new key"
    found = await ask(client, "POST", f"{RESIDENTS}/search", json={"document_number": number(2)})
    assert [one["id"] for one in found.json()["items"]] == [kept], "and is found, by a new index key"


async def _no_backup_opens(site: Site, backup: list[Any], old: dict[str, Any]) -> None:
    """The data keys of a backup are wrapped by a master key that is nowhere any more."""
    assert backup
    key_wrapper = LocalKeyWrapper.from_file(site.data / "keys" / "owner" / "master.key")
    for row in backup:
        with pytest.raises(MasterKeyError):
            await key_wrapper.unwrap(Wrapped(row["master"], row["wrapped"]), bound_to("registry", row["id"]))
    secrets = [str(one.jwk["k"]).encode() for one in old.values()]
    files = [path for path in site.data.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not any(secret in path.read_bytes() for path in files for secret in secrets)
