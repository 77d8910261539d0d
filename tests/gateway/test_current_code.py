"""G2, G3: one's own code, its reasons in one's own language, and a token that a device checks with no network."""

import asyncio
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from services.gateway.codes.policy import Colour
from services.gateway.codes.schemas import CodeShown
from services.gateway.tokens.current_code import KeptCode, token_of
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Key, Subject, issue
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.crypto.code_tokens import BadToken, Kind
from shared.crypto.key_files import symmetric
from tests.gateway import device
from tests.gateway.device import Shown, publics_of
from tests.gateway.test_codes import publish, resident, tube
from tests.harness import District

CODE = "/gateway/v1/code"


def phone(district: District, *people: UUID) -> httpx.AsyncClient:
    return district.caller("gateway", Role.RESIDENT, residents=people)


async def published(district: District) -> list[bytes]:
    """The public keys as a device gets them."""
    transport = httpx.ASGITransport(district.apps["gateway"])
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get("/.well-known/fangxian-code-keys.json")
    assert answer.status_code == 200
    assert answer.json()["format"] == "FX1"
    return [urlsafe_b64decode(key["x"] + "=") for key in answer.json()["keys"]]


async def offline(district: District, token: str) -> Shown:
    return device.read(token, publics_of(await published(district)), clock.now())


async def test_a_green_code_and_its_token_offline(district: District) -> None:
    person = new_id()
    await publish(district, resident(person), tube([person], "negative"))
    shown = (await phone(district, person).get(CODE)).json()
    assert (shown["resident_id"], shown["colour"], shown["reasons"]) == (str(person), "green", [])
    read = await offline(district, shown["token"])
    assert (read.kind, read.resident_id, read.colour, read.until) == (Kind.LIVE, person, Colour.GREEN, None)
    assert read.last_negative == datetime.fromisoformat(shown["last_negative_at"]).replace(microsecond=0)
    assert CodeShown.model_validate(shown).token == shown["token"]


async def test_a_red_code_says_why_how_it_ends_and_what_to_do_in_ones_own_language(district: District) -> None:
    person = new_id()
    mine = tube([person], "positive")
    await publish(district, resident(person), mine)
    english = (await phone(district, person).get(CODE)).json()
    chinese = (await phone(district, person).get(CODE, headers={"accept-language": "zh-CN"})).json()
    (why,), (warum,) = english["reasons"], chinese["reasons"]
    assert (why["rule"], why["evidence_id"], why["colour"]) == ("positive", str(mine.id), "red")
    for said in ("why", "how_it_ends", "next_step"):
        assert re.search("[a-z]", why[said])
        assert re.search("[一-鿿]", warum[said])
    assert re.search("[一-鿿]", chinese["meaning"])
    assert (await offline(district, english["token"])).colour is Colour.RED


async def test_it_says_what_staff_are_shown_but_for_the_token(district: District) -> None:
    person = new_id()
    await publish(district, resident(person), tube([person, new_id()], "positive"))
    own = (await phone(district, person).get(CODE)).json()
    staff = (await district.caller("gateway", Role.GRID_WORKER).get(f"/gateway/v1/codes/{person}")).json()
    assert own | {"token": None} == staff
    assert own["reasons"]


async def test_a_dependants_code_is_a_proxys(district: District) -> None:
    guardian, child, stranger = new_id(), new_id(), new_id()
    await publish(district, resident(guardian), resident(child), resident(stranger))
    shown = await phone(district, guardian, child).get(CODE, params={"resident_id": str(child)})
    read = await offline(district, shown.json()["token"])
    assert (read.kind, read.resident_id, read.shown_by) == (Kind.PROXY, child, guardian)
    own = await phone(district, guardian, child).get(CODE, params={"resident_id": str(guardian)})
    assert (await offline(district, own.json()["token"])).kind is Kind.LIVE
    other = await phone(district, guardian, child).get(CODE, params={"resident_id": str(stranger)})
    nobody = await phone(district, guardian).get(CODE, params={"resident_id": str(new_id())})
    assert (
        (other.status_code, other.json()["code"]) == (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
    )
    wrong = await phone(district, guardian).get(CODE, params={"resident_id": "x"})
    assert (wrong.status_code, wrong.json()["errors"][0]["parameter"]) == (422, "resident_id")


async def test_before_the_code_has_come_there_is_none(district: District) -> None:
    answer = await phone(district, new_id()).get(CODE)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("role", [Role.COMMAND, Role.DOORKEEPER, Role.LABORATORY])
async def test_a_code_is_shown_by_its_resident_only(district: District, role: Role) -> None:
    assert (await district.caller("gateway", role, residents=(new_id(),)).get(CODE)).status_code == 403


async def test_many_at_once_each_get_their_own(district: District) -> None:
    people = [new_id() for _ in range(120)]
    await publish(district, *map(resident, people), tube(people[:40], "positive"))
    answers = await asyncio.gather(*[phone(district, person).get(CODE) for person in people])
    said = [(answer.json()["resident_id"], answer.json()["colour"]) for answer in answers]
    assert said == [(str(person), "yellow" if number < 40 else "green") for number, person in enumerate(people)]


async def test_the_connection_sees_nobody_but_those_who_ask(district: District) -> None:
    person, other = new_id(), new_id()
    await publish(district, resident(person), resident(other))
    connection = await asyncpg.connect(
        district.database.url_of("gateway"), server_settings={"role": "fangxian_gateway_resident"}
    )
    try:
        ask = "SELECT resident_id FROM gateway.codes"
        assert await connection.fetch(ask) == []
        await connection.execute(f"SET scope.residents = '{{{person}}}'")
        assert [row["resident_id"] for row in await connection.fetch(ask)] == [person]
    finally:
        await connection.close()


async def test_the_token_changes_every_minute_and_ends(district: District) -> None:
    person = new_id()
    await publish(district, resident(person))
    first = (await phone(district, person).get(CODE)).json()["token"]
    district.move_clock(minutes=1)
    second = (await phone(district, person).get(CODE)).json()["token"]
    assert first != second
    district.move_clock(minutes=4)
    with pytest.raises(BadToken, match="expired"):
        await offline(district, second)


HOUR = timedelta(hours=1)
ENDS = datetime(2021, 2, 1, 4, tzinfo=UTC)
TIMED: list[tuple[dict[str, Any], timedelta, Colour, datetime | None, Colour | None]] = [
    ({"colour": 3}, 0 * HOUR, Colour.RED, None, None),
    ({"colour": 3, "until": ENDS, "colour_after": 2}, -HOUR, Colour.RED, ENDS, Colour.YELLOW),
    ({"colour": 3, "until": ENDS, "colour_after": 2}, HOUR, Colour.YELLOW, None, None),
    (
        {"colour": 3, "until": ENDS, "colour_after": 2, "green_from": ENDS + 2 * HOUR},
        HOUR,
        Colour.YELLOW,
        ENDS + 2 * HOUR,
        Colour.GREEN,
    ),
    ({"colour": 2, "until": ENDS, "colour_after": 1, "green_from": ENDS}, -HOUR, Colour.YELLOW, ENDS, Colour.GREEN),
    ({"colour": 2, "until": ENDS, "colour_after": 1, "green_from": ENDS}, HOUR, Colour.GREEN, None, None),
]


@pytest.mark.parametrize(("kept", "after", "colour", "until", "then"), TIMED)
def test_a_token_says_what_time_alone_will_make_of_it(
    kept: dict[str, Any], after: timedelta, colour: Colour, until: datetime | None, then: Colour | None
) -> None:
    """However late a worker is in writing down what has ended."""
    person = new_id()
    ending = {"until": None, "colour_after": None, "green_from": None} | kept
    code = KeptCode(resident_id=person, last_negative=None, policy=1, reasons=[], **ending)
    key, now = Key(b"k" * 32), ENDS + after
    read = device.read(
        token_of(code, key, now, Actor("r", Role.RESIDENT, residents=(person,))), publics_of([key.public]), now
    )
    assert (read.colour, read.until, read.colour_after) == (colour, until, then)


async def test_the_picture_is_the_codes(district: District) -> None:
    guardian, child = new_id(), new_id()
    await publish(district, resident(guardian), resident(child))
    for query in ({}, {"resident_id": str(child)}):
        answer = await phone(district, guardian, child).get(f"{CODE}.svg", params=query)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.text.startswith("<svg")
    unknown = await phone(district, guardian).get(f"{CODE}.svg", params={"resident_id": str(child)})
    assert unknown.status_code == 404
    refused = await phone(district, guardian).get(f"{CODE}.svg", headers={"accept": "application/json"})
    assert refused.status_code == 406


async def test_two_keys_are_trusted_while_one_takes_the_others_place(district: District, tmp_path: Path) -> None:
    now = clock.now()
    old, new = (Keys.from_files(_directory(tmp_path, name)) for name in ("old", "new"))
    both = Keys(old.current, (new.current,))
    assert [key["kid"] for key in both.public] == [old.current.id.hex(), new.current.id.hex()]
    trusted = publics_of(urlsafe_b64decode(key["x"] + "=") for key in both.public)
    for signer in (old.current, new.current):
        assert device.read(issue(Subject(UUID(int=1), Colour.GREEN), signer, now), trusted, now).resident_id == UUID(
            int=1
        )
        assert {signer.id} <= both.secrets.keys() & both.receipt_secrets.keys()


async def test_a_new_key_is_published_before_it_signs_and_an_old_one_trusted_after(tmp_path: Path) -> None:
    directory, now = _directory(tmp_path, "keys"), time.time()
    keys, old, new = Keys.from_files(directory), Key(b"keys".ljust(32, b".")), Key(b"n" * 32)
    held = keys.secrets
    assert (keys.current, keys.all) == (old, (old,))

    for begins, current in ((now + 60, old), (now - 60, new)):
        versions = [symmetric(new.seed, nbf=begins), symmetric(old.seed, exp=begins + 120)]
        _replace(directory, json.dumps({"keys": versions}))
        keys.refresh()
        assert (keys.current, set(keys.all)) == (current, {old, new})
        assert keys.secrets is held, "the hot path holds this very mapping"
        assert held.keys() == {old.id, new.id}

    _replace(directory, json.dumps({"keys": [symmetric(new.seed), symmetric(old.seed, exp=now - 1)]}))
    keys.refresh()
    assert (keys.all, held.keys()) == ((new,), {new.id})


async def test_a_broken_key_file_changes_nothing(tmp_path: Path) -> None:
    directory = _directory(tmp_path, "keys")
    keys = Keys.from_files(directory)
    before = keys.all
    _replace(directory, "{")
    with pytest.raises(ValueError, match="Expecting"):
        keys.refresh()
    assert keys.all == before


def _replace(directory: Path, content: str) -> None:
    (directory / "new").write_text(content)
    (directory / "new").replace(directory / "code-hmac.key")


def _directory(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    (parent / name / "code-hmac.key").write_text(_text(name.encode().ljust(32, b".")))
    return parent / name


def _text(seed: bytes) -> str:
    return urlsafe_b64encode(seed).decode().rstrip("=") + "\n"
