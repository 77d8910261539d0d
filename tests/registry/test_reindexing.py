"""While the index key is rotated one document is one person, whoever knows which key, and everybody is found."""

import asyncio
import json
from dataclasses import replace
from datetime import date

import pytest

from services.registry.residents import bulk_upsert, reindexing
from services.registry.residents.reindexing import reindex
from services.registry.residents.rules import Person
from shared.core.actors import Role, system
from shared.core.ids import new_id
from shared.crypto.encryption import IndexKey, Keyring
from shared.jobs import queue
from shared.jobs.queue import run_open_jobs
from tests.harness import District
from tests.registry.people import ELSEWHERE, PHONE, SHATANG, number, person, register, table, take_in

RESIDENTS = "/registry/v1/residents"
NEW = IndexKey("new", b"n" * 32, 1)
COLUMNS = """
    SELECT count(*) AS people, count(document_index) AS first, count(document_index_b) AS second FROM registry.residents
"""


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


@pytest.fixture
def ring(district: District, monkeypatch: pytest.MonkeyPatch):
    """The registry's keyring, whose index keys a test may change; nobody waits for other processes."""
    monkeypatch.setattr(reindexing, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(reindexing, "ROWS", 3)
    ring = district.contexts["registry"].keyring
    before = ring.index_keys
    yield ring
    ring.index_keys = before


async def run(district: District, phase: str) -> dict:
    context, id_ = district.contexts["registry"], new_id()
    await district.sql(
        "INSERT INTO registry.jobs (id, region, kind, actor, input) VALUES ($1, '', 'reindex', $2, $3)",
        id_,
        queue.behalf_of(system("registry")),
        json.dumps({"phase": phase}),
    )
    await run_open_jobs(context, {reindexing.KIND: reindex})
    async with context.system_unit_of_work() as uow:
        return (await queue.get(uow, id_, reindexing.KIND)).model_dump()


async def found(client, **asked: str) -> list[str]:
    answer = await client.post(f"{RESIDENTS}/search", json=asked)
    return [one["id"] for one in answer.json()["items"]]


async def test_the_whole_way_everybody_is_found_and_nobody_is_registered_twice(
    district: District, command, ring: Keyring
) -> None:
    old = ring.index_keys[0]
    ids = {place: await register(district, command, place=place) for place in range(1, 8)}

    async def all_is_well(step: str) -> None:
        for place, id_ in ids.items():
            assert await found(command, document_number=number(place)) == [id_], step
        assert sorted(await found(command, phone=PHONE)) == sorted(ids.values()), step
        again = await command.post(RESIDENTS, json=person(3))
        assert (again.status_code, again.json()["type"].rsplit("/", 1)[-1]) == (409, "resident_exists"), step
        job = await take_in(district, command, table([person(place) for place in ids]))
        counts = {one: count for one, count in job["result"].items() if isinstance(count, int) and count}
        assert (counts["unchanged"], {*counts} - {"unchanged", "heading_line"}) == (len(ids), set()), step

    ring.index_keys = (NEW, old)
    await all_is_well("both keys, and nobody indexed anew yet")
    ids[8] = await register(district, command, place=8)
    await all_is_well("somebody new has both")
    filled = await run(district, "fill")
    assert (filled["state"], filled["result"]["unreadable"]) == ("succeeded", 0)
    assert dict((await district.sql(COLUMNS))[0]) == {"people": 8, "first": 8, "second": 8}
    await all_is_well("both columns are full")
    ring.index_keys = (NEW,)
    await all_is_well("the old key is gone")
    ids[9] = await register(district, command, place=9)
    assert (await run(district, "empty"))["state"] == "succeeded"
    assert dict((await district.sql(COLUMNS))[0]) == {"people": 9, "first": 0, "second": 9}
    await all_is_well("the old column is empty")
    ring.index_keys = (IndexKey("third", b"t" * 32, 0), NEW)
    await run(district, "fill")
    ring.index_keys = ring.index_keys[:1]
    await run(district, "empty")
    assert dict((await district.sql(COLUMNS))[0]) == {"people": 9, "first": 9, "second": 0}
    await all_is_well("and back again")


async def test_versions_stay_as_they_are(district: District, command, ring: Keyring) -> None:
    id_ = await register(district, command)
    entries = len(await district.sql("SELECT FROM registry.feed"))
    ring.index_keys = (NEW, *ring.index_keys)
    await run(district, "fill")
    assert (await command.get(f"{RESIDENTS}/{id_}")).headers["etag"] == '"1"'
    assert len(await district.sql("SELECT FROM registry.feed")) == entries


@pytest.mark.parametrize(
    ("one", "other"),
    [("old", "both"), ("both", "both"), ("both", "new")],
    ids=["one has not seen the new key", "both have", "one has let go of the old key"],
)
async def test_of_two_who_register_one_document_at_once_one_does(
    district: District, ring: Keyring, one: str, other: str
) -> None:
    (old,) = ring.index_keys
    known = {"old": (old,), "both": (NEW, old), "new": (NEW,)}
    rings = [replace(ring, index_keys=known[which]) for which in (one, other)]
    today, context = date(2021, 1, 20), district.contexts["registry"]

    async def write(mine: Keyring, places: range) -> int:
        people = [_person(place) for place in places]
        async with context.system_unit_of_work() as uow:
            added = await bulk_upsert.add(uow, bulk_upsert.prepare(mine, people, today))
            await asyncio.sleep(0.01)
            return len(added)

    for start in range(1, 200, 20):
        added = await asyncio.gather(*(write(mine, range(start, start + 20)) for mine in rings * 3))
        assert sum(added) == 20, added
    assert (await district.sql(COLUMNS))[0]["people"] == 200


async def test_through_the_face_two_hundred_at_once_make_one_person(district: District, command, ring: Keyring) -> None:
    (old,) = ring.index_keys
    known = [(old,), (NEW, old)]

    async def register_under(place: int) -> int:
        ring.index_keys = known[place % 2]
        return (await command.post(RESIDENTS, json=person())).status_code

    await asyncio.gather(*(register_under(place) for place in range(40)))
    ring.index_keys = (NEW, old)
    for _ in range(3):
        await district.settle()
        await district.workers["registry"].periodic_tasks[0].run(district.contexts["registry"])
    assert (await district.sql(COLUMNS))[0]["people"] == 1
    states = await district.sql("SELECT state, count(*) FROM registry.registrations GROUP BY 1 ORDER BY 1")
    assert {row["state"]: row["count"] for row in states}.get("settled") == 1


async def test_who_waits_for_another_region_is_still_known_to_be_asked_for(
    district: District, command, ring: Keyring
) -> None:
    neighbour = district.caller("registry", Role.COMMAND, scope="350582004")
    await register(district, command)
    file = table([person(region=ELSEWHERE)])
    assert (await take_in(district, neighbour, file))["result"]["created"] == 1
    await district.workers["registry"].periodic_tasks[0].run(district.contexts["registry"])
    (old,) = ring.index_keys
    for keys, phase in (((NEW, old), "fill"), ((NEW,), "empty")):
        ring.index_keys = keys
        assert (await take_in(district, neighbour, file))["result"]["unchanged"] == 1
        await run(district, phase)
        assert (await take_in(district, neighbour, file))["result"]["unchanged"] == 1


async def test_who_cannot_be_read_is_counted_and_holds_nobody_up(district: District, command, ring: Keyring) -> None:
    for place in (1, 2, 3):
        await register(district, command, place=place)
    await district.sql("""
        UPDATE registry.residents SET document_number_sealed = ''::bytea
        WHERE seq = (SELECT min(seq) FROM registry.residents)
    """)
    ring.index_keys = (NEW, *ring.index_keys)
    filled = await run(district, "fill")
    assert (filled["state"], filled["done"], filled["result"]["unreadable"]) == ("succeeded", 3, 1)
    assert (await district.sql(COLUMNS))[0]["second"] == 2


def _person(place: int) -> Person:
    born = date(1990, 3, 7)
    return Person(SHATANG, "张三丰", 10, number(place), PHONE, None, None, born, "male", None, None)
