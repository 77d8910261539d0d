"""People for the registry's tests: numbers of the kind that can belong to nobody."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from services.registry.imports.columns import COLUMNS
from services.registry.residents.identity import check_digit
from services.registry.residents.transfers import settle_requests
from tests.harness import District

IMPORTS = "/registry/v1/imports"
SHATANG, HOUKU = "350582005001", "350582005002"
ELSEWHERE = "350582004001"
PHONE = "15412345678"
ADDRESS = "晋江市新塘街道沙塘社区1区5号"


def number(place: int = 1, born: str = "19900307") -> str:
    """The ID number of the nth demonstration person born on a day; odd ones are men."""
    first17 = f"003582{born}{place:03d}"
    return first17 + check_digit(first17)


def person(place: int = 1, born: str = "19900307", **values: Any) -> dict[str, Any]:
    """What is sent to register somebody."""
    return {
        "name": "张三丰",
        "document_number": number(place, born),
        "region": SHATANG,
        "phone": PHONE,
        "address": ADDRESS,
        "household": "H00001",
    } | values


def table(rows: Iterable[Mapping[str, Any]], encoding: str = "utf-8-sig") -> bytes:
    """A CSV file of people, with the Chinese headings of the template."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([headings[0] for headings in COLUMNS.values()])
    writer.writerows([row.get(column, "") for column in COLUMNS] for row in rows)
    return text.getvalue().encode(encoding)


async def register(district: District, client: httpx.AsyncClient, **values: Any) -> str:
    """Register somebody and wait until it is settled; the resident's id."""
    answer = await client.post("/registry/v1/residents", json=person(**values))
    assert answer.status_code == 202, answer.text
    await settle_requests(district.contexts["registry"])
    settled = (await client.get(answer.headers["location"])).json()
    assert settled["state"] == "settled", settled
    return str(settled["resident_id"])


async def send(client: httpx.AsyncClient, content: bytes, name: str = "people.csv", **form: str) -> httpx.Response:
    """Upload a file."""
    return await client.post("/registry/v1/imports", files={"file": (name, content)}, data=form)


async def take_in(district: District, client: httpx.AsyncClient, content: bytes, **form: str) -> dict[str, Any]:
    """Upload a file and wait for its job."""
    answer = await send(client, content, **form)
    assert answer.status_code == 202, answer.text
    await district.settle()
    found: dict[str, Any] = (await client.get(answer.headers["location"])).json()
    return found


async def published(district: District) -> list[Any]:
    """What the registry's feed says of residents, in its order."""
    return await district.sql(
        "SELECT subject, version, change, data FROM registry.feed WHERE type = 'registry.resident.v1' ORDER BY seq"
    )


async def everything_kept(district: District) -> str:
    """All rows of all tables of the registry as text, and bytes as text where they are any."""
    tables = await district.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'registry'")
    found = []
    for row in tables:
        found += [
            str(line["line"])
            for line in await district.sql(f"SELECT t::text AS line FROM registry.{row['tablename']} t")
        ]
    return "\n".join(found)


def crowd(count: int, **values: Any) -> list[dict[str, Any]]:
    return [person(place, **values) for place in range(1, count + 1)]


async def errors_of(client, job: dict[str, Any], language: str = "en") -> list[dict[str, str]]:
    answer = await client.get(f"{IMPORTS}/{job['id']}/errors", headers={"accept-language": language})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def counts(job: dict[str, Any]) -> tuple[int, ...]:
    return tuple(job["result"][name] for name in ("created", "updated", "unchanged", "failed"))
