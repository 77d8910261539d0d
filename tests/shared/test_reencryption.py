"""Sealing anew: everything that is sealed comes under its month's newest key, chunk by chunk, while it is used."""

from typing import Any
from uuid import UUID

import pytest

from shared.core.actors import Role, system
from shared.core.ids import new_id
from shared.core.settings import SERVICES
from shared.crypto import reencryption
from shared.crypto.encryption import Keyring, key_id_of
from shared.crypto.reencryption import KIND, encrypted_columns_of, reencrypt
from shared.jobs import queue
from shared.jobs.queue import Run, run_open_jobs
from tests.harness import District
from tests.registry.people import person, register, send, table

NEXT = 777


@pytest.fixture
def ring(district: District, monkeypatch: pytest.MonkeyPatch):
    """The registry's keyring with another key for this month; nobody waits for other processes."""
    monkeypatch.setattr(reencryption, "SPREAD_SECONDS", 0)
    monkeypatch.setattr(reencryption, "KEYS_LOOK_SECONDS", 0)
    monkeypatch.setattr(reencryption, "ROWS", 2)
    ring = district.contexts["registry"].keyring
    before, newest = ring.current, dict(ring.newest)
    yield ring
    ring.current, ring.newest = before, newest


def rotate(ring: Keyring) -> int:
    month = ring.current
    following = month * 1_000 + NEXT
    if not ring.has(following):
        ring.take(following, b"f" * 32)
    ring.newest = {**ring.newest, month: following}
    ring.current = following
    return following


async def begin(district: District) -> UUID:
    id_ = new_id()
    statement = "INSERT INTO registry.jobs (id, region, kind, actor, input) VALUES ($1, '', $2, $3, '{}')"
    await district.sql(statement, id_, KIND, queue.behalf_of(system("registry")))
    return id_


async def ended(district: District, id_: UUID) -> dict[str, Any]:
    async with district.contexts["registry"].system_unit_of_work() as uow:
        return (await queue.get(uow, id_, KIND)).model_dump()


async def used(district: District) -> dict[str, set[int]]:
    """The data keys that sealed what lies in each column."""
    found = {}
    for place in encrypted_columns_of("registry"):
        for column, _ in place.columns:
            rows = await district.sql(
                f"SELECT {column} AS sealed FROM registry.{place.table} WHERE {column} IS NOT NULL"
            )
            if rows:
                found[f"{place.table}.{column}"] = {key_id_of(row["sealed"]) for row in rows}
    return found


def test_all_sealed_columns_are_known(district: District) -> None:
    declared = {f"{place.table}.{column}" for place in encrypted_columns_of("registry") for column, _ in place.columns}
    assert declared >= {"residents.name_sealed", "registrations.person_sealed", "import_errors.row_sealed"}


@pytest.mark.parametrize("service", SERVICES)
async def test_no_sealed_column_is_forgotten(district: District, service: str) -> None:
    rows = await district.sql(
        """
        SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1
        AND (column_name LIKE '%sealed' OR (table_name = 'idempotency' AND column_name = 'answer'))
        """,
        service,
    )
    assert {f"{row['table_name']}.{row['column_name']}" for row in rows} == {
        f"{place.table}.{column}" for place in encrypted_columns_of(service) for column, _ in place.columns
    }


async def test_everything_comes_under_the_new_key_and_opens(district: District, ring: Keyring) -> None:
    command = district.caller("registry", Role.COMMAND)
    id_ = await register(district, command)
    for place in range(2, 6):
        await register(district, command, place=place)
    await command.post("/registry/v1/residents", json=person(9))  # waits to be settled
    broken = await send(command, table([person(11, document_number="x"), person(12, document_number="y")]))
    await district.settle()
    waiting = await send(command, table([person(13)]))
    old, new = ring.current, rotate(ring)
    assert set().union(*(await used(district)).values()) == {old}

    job = await begin(district)
    await run_open_jobs(district.contexts["registry"], {KIND: reencrypt})
    done = await ended(district, job)
    assert (done["state"], done["result"]["unreadable"]) == ("succeeded", 0)
    now = await used(district)
    assert set(now) >= {"residents.name_sealed", "registrations.person_sealed", "import_errors.row_sealed",
                        "uploads.sealed", "idempotency.answer"}  # fmt: skip
    assert set().union(*now.values()) == {new}

    shown = await command.get(f"/registry/v1/residents/{id_}")
    assert (shown.json()["name"], shown.headers["etag"]) == ("张**", '"1"')
    errors = await command.get(f"{broken.headers['location']}/errors")
    assert "张三丰" in errors.text
    await district.settle()
    assert (await command.get(waiting.headers["location"])).json()["result"]["created"] == 1


async def test_who_is_killed_goes_on_after_the_last_chunk(
    district: District, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = district.caller("registry", Role.COMMAND)
    for place in range(1, 8):
        await register(district, command, place=place)
    new = rotate(ring)
    job, progress, chunks = await begin(district), Run.progress, []

    async def dies(self: Run, *values: Any, **counts: int) -> None:
        chunks.append(self.result["table"])
        if chunks.count("residents") == 3:
            raise ConnectionError("killed")
        await progress(self, *values, **counts)

    monkeypatch.setattr(Run, "progress", dies)
    with pytest.raises(ConnectionError):
        await run_open_jobs(district.contexts["registry"], {KIND: reencrypt})
    monkeypatch.setattr(Run, "progress", progress)
    halfway = await ended(district, job)
    assert (halfway["state"], halfway["result"]["table"]) == ("running", "residents")
    assert halfway["result"]["after"] is not None
    await run_open_jobs(district.contexts["registry"], {KIND: reencrypt})
    done = await ended(district, job)
    assert done["state"] == "succeeded"
    assert set().union(*(await used(district)).values()) == {new}
    sealed = await district.sql("SELECT count(*) FROM registry.residents")
    assert done["result"]["sealed"] >= 4 * sealed[0]["count"]


async def test_what_does_not_open_is_counted_and_left(district: District, ring: Keyring) -> None:
    command = district.caller("registry", Role.COMMAND)
    await register(district, command)
    await district.sql("UPDATE registry.residents SET name_sealed = substring(name_sealed FOR 40)")
    rotate(ring)
    job = await begin(district)
    await run_open_jobs(district.contexts["registry"], {KIND: reencrypt})
    done = await ended(district, job)
    assert (done["state"], done["result"]["unreadable"]) == ("succeeded", 1)
