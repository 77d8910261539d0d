"""Every kind of key is rotated in a running installation while people use it: no request is lost.

Real processes, started by `fangxian up`; requests go through the gateway the whole time. A request that is not answered
with success is a failure; none is repeated.
"""

import asyncio
import itertools
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from deploy import key_versions
from deploy.demo.population import TOWNSHIP
from services.gateway.tokens.rules import Key
from shared.core.ids import new_id
from shared.core.settings import SERVICES
from shared.crypto.key_files import decoded
from tests.faults.site import KEYS_ARE_SEEN_SOON, Site, installed, until
from tests.registry.people import SHATANG, number, person

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]

PAUSE_SECONDS = 0.03
PEOPLE = 10
ACTS, OFTEN = ("register", "look", "search", "verify"), 5
"""What is done beside a rotation, and how often at least."""
SEARCHES = 50
"""Of one person: so many are allowed in a minute, and a few more."""
SOME_MORE = 3
BEGINS_IN_SECONDS = 4
"""Until a new key signs, that all processes see much sooner."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    often = dict.fromkeys(("FANGXIAN_REQUESTS_A_MINUTE_PER_STAFF", "FANGXIAN_REQUESTS_A_MINUTE_PER_CLIENT"), "100000")
    with installed(**often, **KEYS_ARE_SEEN_SOON) as running:
        yield running


@dataclass
class Load:
    """People at work: they register, look up, search, show codes and pass a door."""

    client: httpx.AsyncClient
    people: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _bearers: dict[str, dict[str, str]] = field(default_factory=dict)
    _places: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _searches: "itertools.count[int]" = field(default_factory=itertools.count)
    _stop: bool = False

    async def ask(self, what: str, method: str, path: str, bearer: dict[str, str], **content: Any) -> Any:
        """One request; anything but a success is a failure."""
        headers = {**bearer, **({"idempotency-key": str(new_id())} if method == "POST" else {})}
        try:
            answer = await self.client.request(method, path, headers=headers, **content)
        except httpx.HTTPError as error:
            self.failures.append(f"{what}: {type(error).__name__}")
            return None
        self.answers[what] += 1
        if not answer.is_success:
            self.failures.append(f"{what}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json()

    async def sign_in(self, name: str, **grant: str) -> dict[str, str]:
        """A fresh token, signed with whichever key signs now; the one before it stays in use elsewhere."""
        given = await self.ask("sign in", "POST", "/gateway/v1/development/tokens", {}, json=grant)
        if given is not None:
            self._bearers[name] = {"authorization": f"Bearer {given['access_token']}"}
        return self._bearers[name]

    async def begin(self) -> None:
        """Somebody to look at, and a door."""
        await self.sign_in("command", role="command", region=TOWNSHIP)
        self.first = dict(self._bearers["command"])
        point = await self.ask(
            "point",
            "POST",
            "/gateway/v1/service-points",
            self.first,
            json={"name": "大厅", "region": SHATANG},
        )
        await self.sign_in("door", role="doorkeeper", party=point["id"], region=SHATANG)
        for _ in range(PEOPLE):
            await self._register()
        await self._until_known()
        assert not self.failures, self.failures

    async def _register(self) -> None:
        place = next(self._places)
        born = f"{1930 + place // 900}0101"
        new = person(place % 900 + 1, born)
        said = await self.ask("register", "POST", "/registry/v1/residents", self._bearers["command"], json=new)
        if said is None:
            return
        for _ in range(200):
            path = f"/registry/v1/registrations/{said['id']}"
            settled = await self.ask("settled", "GET", path, self._bearers["command"])
            if settled and settled["state"] != "received":
                break
            await asyncio.sleep(0.1)
        if not settled or settled["state"] != "settled":
            self.failures.append(f"registration became {settled}")
            return
        self.people.append(settled["resident_id"])
        found = await self._search(new["document_number"])
        if found != [settled["resident_id"]]:
            self.failures.append(f"who was registered is found as {found}")

    async def _search(self, document: str) -> list[str]:
        asked, who = {"document_number": document}, f"searcher-{next(self._searches) // SEARCHES}"
        if who not in self._bearers:
            await self.sign_in(who, role="command", region=TOWNSHIP, subject=who)
        found = await self.ask("search", "POST", "/registry/v1/residents/search", self._bearers[who], json=asked)
        return [one["id"] for one in found["items"]] if found else []

    async def _until_known(self) -> None:
        for _ in range(300):
            answer = await self.client.get(f"/gateway/v1/codes/{self.people[-1]}", headers=self.first)
            if answer.is_success:
                return
            await asyncio.sleep(0.1)

    async def _look(self) -> None:
        shown = await self.ask("look", "GET", f"/registry/v1/residents/{self.people[0]}", self.first)
        if shown and (shown["name"], shown["phone"]) != ("张**", "154****5678"):
            self.failures.append(f"shown as {shown}")

    async def _find(self) -> None:
        if self.people[0] not in await self._search(number(2, "19300101")):
            self.failures.append("the first is not found any more")

    async def _pass_a_door(self) -> None:
        resident = await self.sign_in("resident", role="resident", resident_id=self.people[0])
        code = await self.ask("code", "GET", "/gateway/v1/code", resident)
        if code is None:
            return
        await asyncio.sleep(0.5)
        scan = {"scan_id": str(new_id()), "token": code["token"]}
        said = await self.ask("verify", "POST", "/gateway/v1/verifications", self._bearers["door"], json=scan)
        if said and said["verdict"] != "pass":
            self.failures.append(f"the door says {said}")

    async def _over_and_over(self, act: Callable[[], Awaitable[None]]) -> None:
        while not self._stop:
            await act()
            await asyncio.sleep(PAUSE_SECONDS)

    async def during(self, act: Awaitable[Any]) -> Any:
        """Work while everybody is at it, and until each did it some more times, so that what follows is met as well."""
        self._stop, self.failures = False, []
        self.answers.clear()
        acts = (self._register, self._look, self._find, self._pass_a_door)
        people = [asyncio.create_task(self._over_and_over(act)) for act in acts]
        try:
            done = await act
            enough = {what: max(OFTEN, self.answers[what] + SOME_MORE) for what in ACTS}

            async def went_on() -> bool:
                return bool(self.failures) or all(self.answers[what] > often for what, often in enough.items())

            await until("everybody went on", went_on)
        finally:
            self._stop = True
            await asyncio.gather(*people)
        return done


@pytest.fixture(scope="module")
async def load(site: Site) -> AsyncIterator[Load]:
    async with httpx.AsyncClient(base_url=site.url, timeout=10, trust_env=False) as client:
        load = Load(client)
        await load.begin()
        yield load


SIGNING = (*SERVICES, "issuer", "code")


@pytest.mark.parametrize("kinds", [("master",), ("data",), ("index",), SIGNING], ids="-".join)
async def test_keys_are_rotated_and_no_request_is_lost(site: Site, load: Load, kinds: tuple[str, ...]) -> None:
    before = {kind: _ids(site, kind) for kind in kinds}
    signs = [kind in key_versions.BEGINS_IN for kind in kinds]

    async def rotate() -> list[tuple[int, str]]:
        later = ["--begins-in", str(BEGINS_IN_SECONDS)] if any(signs) else []
        said = [await site.operator("keys", "rotate", kind, *later) for kind in kinds]
        if later:
            await asyncio.sleep(BEGINS_IN_SECONDS + 1)  # the new keys have begun
        return said

    assert all(signs) or not any(signs)
    for code, said in await load.during(rotate()):
        assert code == 0, said
    assert load.failures == [], f"{len(load.failures)} of {load.answers.total()}"
    logger.info("%s: %d requests, %d failures", kinds, load.answers.total(), len(load.failures))
    for kind in kinds:
        if kind != "data":
            after = _ids(site, kind)
            assert after - before[kind], "there is a new key"
            assert (before[kind] <= after) is (kind != "index"), "the old one is known beside it, but for an index key"
        await PROOFS.get(kind, _nothing_more)(site, load)


def _ids(site: Site, kind: str) -> set[str]:
    return set() if kind == "data" else {one.id for one in key_versions.versions(site.data / "keys", kind)}


async def _all_is_sealed_anew(site: Site, _: Load) -> None:
    async with site.owner() as owner:
        live = await owner.fetch("SELECT id FROM registry.data_keys WHERE wrapped IS NOT NULL AND month < id")
        used = await owner.fetch("""
            SELECT DISTINCT ('x' || encode(substring(name_sealed FROM 2 FOR 4), 'hex'))::bit(32)::int AS id
            FROM registry.residents
        """)
        assert {row["id"] for row in used} == {row["id"] for row in live}
        (gone,) = await owner.fetchrow("SELECT count(*) FROM registry.data_keys WHERE wrapped IS NULL")
        assert gone == 1


async def _all_are_in_the_other_column(site: Site, _: Load) -> None:
    async with site.owner() as owner:
        (people, first, second) = await owner.fetchrow(
            "SELECT count(*), count(document_index), count(document_index_b) FROM registry.residents"
        )
    assert (people, first) == (second, 0)


async def _all_are_wrapped_anew(site: Site, _: Load) -> None:
    newest = key_versions.versions(site.data / "keys", "master")[0].id
    async with site.owner() as owner:
        for service in SERVICES:
            rows = await owner.fetch(f"SELECT DISTINCT master FROM {service}.data_keys")
            assert [row["master"] for row in rows] == [newest]


async def _a_new_token_is_of_the_new_key(site: Site, load: Load) -> None:
    newest = key_versions.versions(site.data / "keys", "issuer")[0].id
    fresh = await load.sign_in("fresh", role="command", region=TOWNSHIP)
    assert json.loads(decoded(fresh["authorization"].split()[1].split(".")[0]))["kid"] == newest
    published = await load.client.get("/.well-known/jwks.json")
    assert {newest, "issuer"} <= {key["kid"] for key in published.json()["keys"]}


async def _a_new_code_is_of_the_new_key(site: Site, load: Load) -> None:
    newest = Key(key_versions.versions(site.data / "keys", "code")[0].secret)
    resident = await load.sign_in("resident", role="resident", resident_id=load.people[0])
    code = await load.ask("code", "GET", "/gateway/v1/code", resident)
    assert decoded(code["token"].removeprefix("FX1."))[:4] == newest.id
    published = await load.client.get("/.well-known/fangxian-code-keys.json")
    assert len(published.json()["keys"]) == 2


async def _nothing_more(*_: Any) -> None:
    pass


PROOFS = {
    "master": _all_are_wrapped_anew,
    "data": _all_is_sealed_anew,
    "index": _all_are_in_the_other_column,
    "issuer": _a_new_token_is_of_the_new_key,
    "code": _a_new_code_is_of_the_new_key,
}
"""How it shows that the new key is used."""
