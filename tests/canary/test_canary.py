"""The canary: one unmistakable person goes through everything, and is then found nowhere in clear.

Real processes, started by `fangxian up`. What lies on the disk is searched after the servers have ended in good order,
the write-ahead log with it. The last tests plant a leak in each kind of place: a search that finds nothing is worth
something only if it finds what is there.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from deploy import data as directories
from shared.observability.otel import BareExporter
from tests.canary import places
from tests.canary.needles import ADDRESS, ALL, NAME, NUMBER, PHONE, STREET, VALUES, forms, search
from tests.canary.story import TOLD, Story
from tests.collector import Collector, collecting
from tests.faults.receiver import Subscriber
from tests.faults.site import Site, installed

pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def site(collector: Collector) -> Iterator[Site]:
    with installed(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="200") as running:
        yield running


@pytest.fixture(scope="module")
async def story(site: Site) -> AsyncIterator[Story]:
    subscriber = Subscriber()
    subscriber.open()
    async with httpx.AsyncClient(base_url=site.url, timeout=30, trust_env=False) as client:
        told = Story(site, client, subscriber)
        await told.play()
        yield told
    subscriber.close()


async def test_no_answer_says_it_but_those_that_are_to(story: Story) -> None:
    assert [one for place, answer in story.answers for one in search(place, answer)] == []
    assert story.errors == []
    assert len(story.answers) > 100


async def test_no_webhook_says_it(story: Story) -> None:
    events = story.subscriber.events
    assert {event["type"] for event in events.values()} >= TOLD
    assert [one for place, event in places.lines_of(events) for one in search(place, event.encode())] == []


async def test_no_metric_health_or_document_says_it(story: Story) -> None:
    assert await places.of_pages(story.site) == []


async def test_no_table_holds_it(story: Story) -> None:
    assert await places.of_tables(story.site) == []


async def test_valkey_does_not_hold_it(story: Story) -> None:
    assert await places.of_redis(story.site) == []


async def test_the_installation_writes_it_nowhere(story: Story) -> None:
    """Last of those that ask the installation: it is stopped, so that all it holds is on the disk."""
    site = story.site
    logs = directories.at(site.data).logs
    assert len(list(logs.iterdir())) >= 10, "all processes have their logs here"
    await asyncio.to_thread(site.stop)
    try:
        servers = (site.data / "servers").resolve()
        assert any((servers / "postgres" / "pg_wal").iterdir())
        found = await asyncio.to_thread(places.of_directory, "servers", servers)
        found += await asyncio.to_thread(places.of_directory, "data", site.data)
    finally:
        await asyncio.to_thread(lambda: site.start(**site.settings))
    assert found == []


async def test_no_trace_says_it(story: Story, collector: Collector) -> None:
    """After the installation has stopped once: by then every process has sent all its spans."""
    services = {"fangxian-gateway", "fangxian-registry", "fangxian-testing", "fangxian-observation"}
    assert {span.service for span in collector.spans} == services
    routes = {span.name for span in collector.spans}
    assert {"POST /registry/v1/residents", "POST /registry/v1/residents/search"} <= routes
    assert places.of_traces(collector.bodies) == []


# The search finds what is there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", VALUES)
def test_every_form_is_found_wherever_it_stands(what: str) -> None:
    for form, raw in forms(VALUES[what]).items():
        for before in (b"", b"x", b"xy", b"xyz"):
            assert any(found.what == what for found in search("here", before + raw + b"after")), form


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("after", ["", "z", "yz"])
@pytest.mark.parametrize("value", [NAME, PHONE, NUMBER, STREET], ids=["name", "phone", "number", "street"])
def test_base64_is_found_at_any_place_of_a_longer_text(value: str, before: str, after: str) -> None:
    coded = base64.b64encode(f"{before}{value}{after}".encode())
    assert {found.form.split()[0] for found in search("here", coded)} >= {"base64"}


def test_what_a_person_is_not_is_not_found() -> None:
    for content in (b"", "欧***".encode(), f"{NUMBER[:6]}********{NUMBER[-4:]}".encode(), "沙塘社区****".encode()):
        assert search("here", content) == []
    assert all(len(raw) >= 8 for raw in ALL.values()), "nothing so short that chance writes it"


PLANTS = {
    "a log": ("logs/registry.log", f'{{"event": "{NAME}"}}\n'.encode()),
    "a log, escaped": ("logs/gateway.log", json.dumps({"address": ADDRESS}).encode()),
    "a file of the cluster": ("servers/postgres/base/leak", bytes(5_000) + NUMBER.encode("utf-16-le")),
    "the write-ahead log": ("servers/postgres/pg_wal/leak", bytes(20 << 20) + PHONE.encode() + bytes(9)),
    "between two pieces": ("logs/leak", b"." * (places.CHUNK_BYTES - 5) + NAME.encode("gb18030")),
    "a name of a file": (f"logs/{PHONE}.log", b"nothing"),
}


@pytest.mark.parametrize("where", PLANTS)
def test_a_leak_on_the_disk_is_found(tmp_path: Path, where: str) -> None:
    """In a directory laid out as an installation's: what a real one holds is searched by the same function."""
    name, content = PLANTS[where]
    for directory in ("logs", "servers/postgres/base", "servers/postgres/pg_wal"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "harmless").write_bytes("欧阳".encode() * 1_000)
    assert places.of_directory("data", tmp_path) == []
    (tmp_path / name).write_bytes(content)
    assert {one.place for one in places.of_directory("data", tmp_path)} == {f"data: {name}"}


TABLES = {
    "text": (f"INSERT INTO registry.reveals VALUES ('{NAME}', '{{}}')", "registry.reveals"),
    "json": (
        "UPDATE testing.jobs SET result = '" + json.dumps({"name": NAME}) + "'",
        "testing.jobs",
    ),
    "bytes in clear": (
        f"UPDATE registry.residents SET name_sealed = convert_to('{NAME}', 'UTF8')",
        "registry.residents",
    ),
    "another encoding": (
        f"UPDATE registry.residents SET phone_sealed = convert_to('{PHONE}', 'UTF8')",
        "registry.residents",
    ),
}


@pytest.mark.parametrize("kind", TABLES)
async def test_a_leak_in_a_table_is_found(story: Story, kind: str) -> None:
    statement, table = TABLES[kind]
    async with story.site.owner() as owner:
        transaction = owner.transaction()
        await transaction.start()
        try:
            if kind == "json":
                await owner.execute(
                    "INSERT INTO testing.jobs (id, region, kind, actor, input) "
                    "VALUES (gen_random_uuid(), '', 'x', '{}', '{}')"
                )
            await owner.execute(statement)
            assert await _found_in(owner) == {f"table {table}"}
        finally:
            await transaction.rollback()


async def _found_in(owner: asyncpg.Connection) -> set[str]:
    return {one.place async for place, content in places.tables_of(owner) for one in search(place, content)}


@pytest.mark.parametrize("exporter", [OTLPSpanExporter, BareExporter], ids=["as a library does", "as we do"])
def test_a_leak_in_a_trace_is_found(exporter: type[OTLPSpanExporter]) -> None:
    """Sent as an installation sends it: whole it is found, and what we send of it holds nothing more."""
    with collecting() as collector:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter(endpoint=f"{collector.url}/v1/traces")))
        with provider.get_tracer("leak").start_as_current_span("GET") as span:
            span.set_attribute("url.full", f"http://gateway/?phone={PHONE}")
            span.add_event("exception", {"exception.message": f"Key (name)=({NAME}) already exists."})
        provider.shutdown()
    assert len(collector.spans) == 1
    found = {one.what for one in places.of_traces(collector.bodies)}
    assert found == (set() if exporter is BareExporter else {"name", "phone"})


@pytest.mark.parametrize("kind", ["string", "list", "hash", "zset", "set", "key"])
async def test_a_leak_in_valkey_is_found(story: Story, kind: str) -> None:
    async with story.site.redis() as redis:
        key = f"leak:{PHONE}" if kind == "key" else "leak"
        await {
            "string": lambda: redis.set(key, NAME),
            "list": lambda: redis.rpush(key, NAME),
            "hash": lambda: redis.hset(key, "name", NAME),
            "zset": lambda: redis.zadd(key, {NAME: 1}),
            "set": lambda: redis.sadd(key, NAME),
            "key": lambda: redis.set(key, "1"),
        }[kind]()
        try:
            assert await places.of_redis(story.site) != []
        finally:
            await redis.delete(key)
