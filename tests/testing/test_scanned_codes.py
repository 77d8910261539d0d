"""T4, G3: a sampler scans the resident's code and needs no search, also with no network and uploaded later."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.gateway.codes.policy import Colour
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Key, Subject, issue
from services.testing import codes
from services.testing.codes import CodeKeys
from shared.core import clock
from shared.core.ids import new_id
from shared.crypto.code_tokens import Genuine, check_of
from tests.harness import District
from tests.testing.conftest import MakeRound, Round, minutes_ago, residents

SAMPLES = "/testing/v1/samples"
LATE = {"minutes": 15}


@pytest.fixture
def show(district: District) -> Callable[..., str]:
    """What a person's phone shows at some moment."""
    key = Keys.from_files(district.contexts["gateway"].settings.keys).current

    def shown(person: UUID, at: datetime | None = None, *, by: UUID | None = None, signer: Key = key) -> str:
        return issue(Subject(person, Colour.GREEN), signer, at or clock.now(), shown_by=by)

    return shown


def scanned(ring: Round, tube: str, token: str, **values: Any) -> dict[str, Any]:
    """A swab as a device records it that has scanned a code."""
    swab = ring.swab(tube, new_id(), **values)
    del swab["resident_id"]
    return swab | {"token": token}


def changed(token: str) -> str:
    """A code with another person's id and the check mended: what a forger can make."""
    raw = bytearray(urlsafe_b64decode(token[4:] + "=" * (-len(token[4:]) % 4)))
    raw[10] ^= 1
    raw[-2:] = check_of(bytes(raw[:-2]))
    return "FX1." + urlsafe_b64encode(raw).rstrip(b"=").decode()


async def refused_of(ring: Round, **params: Any) -> list[dict[str, Any]]:
    answer = await ring.command.get(f"{SAMPLES}/refused", params=params)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_scanned_code_names_its_person_or_the_dependant_whose_guardian_shows_it(
    district: District, make_round: MakeRound, show: Callable[..., str]
) -> None:
    mother, child = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [scanned(ring, tube, show(mother)), scanned(ring, tube, show(child, by=mother))]
    answers = await ring.send(*swabs)
    assert [(answer["status"], answer["exception"]) for answer in answers] == [("kept", None)] * 2
    assert [answer["resident_id"] for answer in answers] == [str(mother), str(child)]
    assert {sample["resident_id"] for sample in (await ring.tube(tube))["samples"]} == {str(mother), str(child)}
    assert await ring.missing() == set()
    [entry] = await district.sql("SELECT subjects FROM testing.audit WHERE operation = 'POST /testing/v1/samples'")
    assert set(entry["subjects"]) == {mother, child}


async def test_the_same_swab_with_a_code_and_then_an_id_is_there_already(
    district: District, make_round: MakeRound, show: Callable[..., str]
) -> None:
    person, other = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swab = scanned(ring, tube, show(person))
    by_id = {**swab, "resident_id": str(person)}
    del by_id["token"]
    assert [answer["status"] for answer in await ring.send(swab, by_id, swab)] == ["kept", "already", "already"]
    district.move_clock(**LATE)
    again = await ring.send(swab, by_id, by_id | {"resident_id": str(other)})
    assert [answer["status"] for answer in again] == ["already", "already", "refused"]
    assert again[2]["problem"]["code"] == "sample_id_taken"


FAULTS = {
    "expired": "code_expired",
    "not_yet": "code_not_yet",
    "forged": "code_forged",
    "foreign": "code_forged",
    "malformed": "code_malformed",
    "endless": "code_malformed",
}


def faulty(name: str, person: UUID, show: Callable[..., str], at: datetime) -> str:
    """A code that is wrong at an instant."""
    return {
        "expired": lambda: show(person, at - timedelta(minutes=9)),
        "not_yet": lambda: show(person, at + timedelta(minutes=9)),
        "forged": lambda: changed(show(person, at)),
        "foreign": lambda: show(person, at, signer=Key(b"f" * 32)),
        "malformed": lambda: show(person, at)[:-1] + "!",
        "endless": lambda: "FX1." + "A" * 900,
    }[name]()


@pytest.mark.parametrize("name", FAULTS)
async def test_before_the_swab_a_wrong_code_is_refused_by_record_and_leaves_nothing(
    district: District, make_round: MakeRound, show: Callable[..., str], name: str
) -> None:
    person, other = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    wrong = scanned(ring, tube, faulty(name, person, show, clock.now()))
    first, second = await ring.send(wrong, scanned(ring, tube, show(other)))
    assert (first["status"], first["problem"]["code"]) == ("refused", FAULTS[name])
    assert first["problem"]["errors"][0]["pointer"] == "#/items/0/token"
    assert second["status"] == "kept", "one wrong code stops no other record"
    assert await refused_of(ring) == []
    # The person refreshes the code, and the same record is kept.
    [kept] = await ring.send(wrong | {"token": show(person)})
    assert kept["status"] == "kept"


@pytest.mark.parametrize("name", FAULTS)
async def test_a_swab_that_has_happened_is_never_lost_for_its_code(
    district: District, make_round: MakeRound, show: Callable[..., str], name: str
) -> None:
    [person] = await residents(district, 1)
    ring = await make_round()
    [tube] = await ring.roll()
    swab = scanned(ring, tube, faulty(name, person, show, minutes_ago(60)), offline=True, ago=60)
    for status in ("kept", "already") if name in ("expired", "not_yet") else ("refused", "refused"):
        [answer] = await ring.send(swab)
        assert answer["status"] == status
    if status == "already":
        assert (answer["exception"], answer["resident_id"]) == ("stale_code", str(person))
        assert [one["resident_id"] for one in (await ring.tube(tube))["samples"]] == [str(person)]
        total = (await ring.progress())["total"]
        assert (total["sampled"], total["missing"]) == (1, 0)
        return
    assert (answer["problem"]["code"], answer["resident_id"]) == (FAULTS[name], None)
    [record] = await refused_of(ring)
    assert (record["sample_id"], record["resident_id"], record["reason"]) == (swab["id"], None, FAULTS[name])
    # Whoever finds out who it was sends the same record with the person, and it is resolved.
    resolved = {**swab, "resident_id": str(person)}
    del resolved["token"]
    [answer] = await ring.send(resolved)
    assert answer["status"] == "kept"
    assert await refused_of(ring) == []
    [record] = await refused_of(ring, resolved=True)
    assert record["resolved_at"]
    # The device repeats what it has.
    assert (await ring.send(swab))[0]["status"] == "already"


@pytest.mark.parametrize(("off", "exception"), [(-6, None), (6, None), (-8, "stale_code"), (8, "stale_code")])
async def test_offline_the_code_is_of_the_time_of_the_swab_by_the_devices_clock(
    district: District, make_round: MakeRound, show: Callable[..., str], off: int, exception: str | None
) -> None:
    """A device may be five minutes off, beside the two minutes that a code is good for."""
    [person] = await residents(district, 1)
    ring = await make_round()
    [tube] = await ring.roll()
    taken = minutes_ago(60).replace(second=10, microsecond=0)
    shown_at = taken + timedelta(minutes=off) if off < 0 else taken + timedelta(minutes=off - 1)
    swab = scanned(ring, tube, show(person, shown_at), offline=True, sampled_at=taken.isoformat())
    [answer] = await ring.send(swab)
    assert (answer["status"], answer["exception"]) == ("kept", exception)


async def test_a_code_of_another_time_answers_no_pool(
    district: District, make_round: MakeRound, show: Callable[..., str]
) -> None:
    """Who was swabbed is not sure enough to set anybody free."""
    people = await residents(district, 2)
    ring = await make_round()
    pool, _ = await ring.filled(people)
    await ring.report(ring.result_of(pool, "positive"))
    district.move_clock(minutes=30)
    stale, fresh = await ring.roll(2, capacity=1)
    early = show(people[0], minutes_ago(20))
    await ring.send(
        scanned(ring, stale, early, offline=True, ago=5),
        scanned(ring, fresh, show(people[1], minutes_ago(5)), offline=True, ago=5),
    )
    states = {one["resident_id"]: one["state"] for one in await ring.retests()}
    assert states == {str(people[0]): "called", str(people[1]): "sampled"}


async def test_staff_resolve_a_code_of_another_time_as_the_documentation_says(
    district: District, make_round: MakeRound, show: Callable[..., str]
) -> None:
    first, second = await residents(district, 2)
    ring = await make_round()
    before, after, fresh = await ring.roll(3)
    stale = [
        scanned(ring, tube, show(person, minutes_ago(20)), offline=True, ago=5)
        for tube, person in ((before, first), (after, second))
    ]
    assert [answer["exception"] for answer in await ring.send(*stale)] == ["stale_code"] * 2

    async def undo(swab: dict[str, Any]) -> httpx.Response:
        return await ring.sampler.post(f"{SAMPLES}/{swab['id']}/undo", json={"reason": "wrong_person"})

    assert (await undo(stale[0])).status_code == 200
    [answer] = await ring.send(ring.swab(before, first, offline=True, ago=5))
    assert (answer["status"], answer["exception"]) == ("kept", None)

    assert (await ring.seal(after, stale[1:]))["status"] == "sealed"
    assert (await undo(stale[1])).json()["code"] == "tube_sealed"
    known = {name: value for name, value in stale[1].items() if name != "token"} | {"resident_id": str(second)}
    [answer] = await ring.send(known)
    assert (answer["status"], answer["exception"]) == ("already", "stale_code")
    assert await ring.missing() == set()
    [answer] = await ring.send(ring.swab(fresh, second))
    assert (answer["status"], answer["exception"]) == ("kept", None)
    assert [sample["exception"] for sample in (await ring.tube(after))["samples"]] == ["stale_code"]


@pytest.mark.parametrize(
    "values",
    [{}, {"resident_id": str(new_id()), "token": "FX1.AAAA"}, {"resident_id": None, "token": None}],
    ids=["none", "both", "nulls"],
)
async def test_a_record_names_its_person_in_exactly_one_way(
    district: District, make_round: MakeRound, values: dict[str, Any]
) -> None:
    ring = await make_round()
    swab = ring.swab("000000000130", new_id())
    del swab["resident_id"]
    answer = await ring.sampler.post(SAMPLES, json={"items": [swab | values]})
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert (fault["code"], fault["pointer"]) == ("one_of_two", "#/items/0")


async def test_a_null_beside_the_other_is_as_if_it_were_left_out(
    district: District, make_round: MakeRound, show: Callable[..., str]
) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    swabs = [
        scanned(ring, tube, show(people[0])) | {"resident_id": None},
        ring.swab(tube, people[1]) | {"token": None},
    ]
    assert [answer["status"] for answer in await ring.send(*swabs)] == ["kept", "kept"]


# The keys ------------------------------------------------------------------------------------------------------------


class Gateway:
    """A gateway that publishes keys, counts who asks, and may be down."""

    def __init__(self, *keys: Key) -> None:
        self.keys, self.asked, self.is_down = list(keys), 0, False

    async def __call__(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.is_down:
            raise httpx.ConnectError("refused")
        published = [{"kid": key.id.hex(), "x": _text(key.public)} for key in self.keys]
        return httpx.Response(200, json={"format": "FX1", "keys": published})


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def reading(district: District, monkeypatch: pytest.MonkeyPatch) -> Callable[[Gateway], CodeKeys]:
    """The keys of a process of testing whose gateway is this one."""

    def make(gateway: Gateway) -> CodeKeys:
        client = httpx.AsyncClient(transport=httpx.MockTransport(gateway), base_url="http://gateway")
        monkeypatch.setitem(district.contexts["testing"].service_clients._clients, "gateway", client)
        held = CodeKeys(district.contexts["testing"])
        monkeypatch.setitem(district.apps["testing"].state._state, "code_keys", held)
        return held

    return make


OLD, NEW = Key(b"o" * 32), Key(b"n" * 32)


def body_of(*tokens: str) -> bytes:
    return b", ".join(b'"%s"' % token.encode() for token in tokens)


async def test_the_gateway_is_asked_once_for_a_thousand_codes_and_again_for_a_new_key(
    reading: Callable[[Gateway], CodeKeys], show: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(OLD)
    held = reading(gateway)
    tokens = [show(new_id(), signer=OLD) for _ in range(20)]
    for _ in range(3):
        await held.prepare(body_of(*tokens))
    assert gateway.asked == 1
    assert all(isinstance(held.read(token), Genuine) for token in tokens)
    monkeypatch.setattr(codes, "AGAIN_SECONDS", 0.0)
    gateway.keys.append(NEW)
    late = show(new_id(), signer=NEW)
    await held.prepare(body_of(late))
    assert gateway.asked == 2
    assert isinstance(held.read(late), Genuine)
    # A revoked key is trusted no more once the keys are fetched again, whatever was remembered of its signatures.
    gateway.keys.remove(OLD)
    await held.prepare(body_of(show(new_id(), signer=Key(b"x" * 32))))
    assert held.read(tokens[0]) == "unknown_key"


async def test_while_the_gateway_is_down_the_last_keys_hold(
    reading: Callable[[Gateway], CodeKeys], show: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes, "AGAIN_SECONDS", 0.0)
    gateway = Gateway(OLD)
    held = reading(gateway)
    first = show(new_id(), signer=OLD)
    await held.prepare(body_of(first))
    gateway.is_down = True
    monkeypatch.setattr(codes, "FRESH_SECONDS", 0.0)
    second = show(new_id(), signer=OLD)
    await held.prepare(body_of(second))
    assert gateway.asked == 2
    assert isinstance(held.read(second), Genuine)


async def test_without_any_key_a_batch_with_codes_is_asked_for_again_later(
    district: District,
    make_round: MakeRound,
    reading: Callable[[Gateway], CodeKeys],
    show: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codes, "AGAIN_SECONDS", 0.0)
    person, other = await residents(district, 2)
    ring = await make_round()
    [tube] = await ring.roll()
    gateway = Gateway(OLD)
    gateway.is_down = True
    reading(gateway)
    swab = scanned(ring, tube, show(person, minutes_ago(3), signer=OLD), offline=True, ago=3)
    answer = await ring.sampler.post(SAMPLES, json={"items": [swab]})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
    assert (await ring.send(ring.swab(tube, other)))[0]["status"] == "kept", "who needs no key is not kept waiting"
    gateway.is_down = False
    assert (await ring.send(swab))[0]["status"] == "kept"
