"""A member of a suspicious pool is not a positive: nothing a resident or guardian reads says so (T6)."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.testing.tubes.rules import own_result
from shared.core.actors import Role
from shared.core.settings import Service
from tests.harness import District
from tests.testing.conftest import MakeRound, Round, residents

OWN: tuple[tuple[Service, str], ...] = (
    ("testing", "/testing/v1/my-samples"),
    ("testing", "/testing/v1/my-retests"),
    ("gateway", "/gateway/v1/code"),
    ("gateway", "/gateway/v1/visits"),
    ("gateway", "/gateway/v1/who-looked-at-me"),
    ("observation", "/observation/v1/orders"),
    ("observation", "/observation/v1/referrals"),
)
"""What residents and guardians read about people. Registry's records hold nothing of tests."""


async def read(district: District, *people: UUID, language: str) -> dict[str, str]:
    """All that is told to the first of these people about the last of them, by where it is told."""
    texts = {}
    for service, path in OWN:
        client = district.caller(service, Role.RESIDENT, residents=people)
        params = {"resident_id": str(people[-1])} if path == "/gateway/v1/code" else {}
        answer = await client.get(path, params=params, headers={"accept-language": language})
        assert answer.status_code == 200, answer.text
        texts[path] = answer.text
        for order in answer.json()["items"] if path == "/observation/v1/orders" else ():
            for page in ("plan", "notice"):
                texts[page] = (await client.get(f"{path}/{order['id']}/{page}")).text
    return texts


def mine(district: District, *people: UUID) -> httpx.AsyncClient:
    return district.caller("testing", Role.RESIDENT, residents=people)


async def first(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/testing/v1/{path}")).json()["items"][0]
    return found


@pytest.mark.parametrize("outcome", ["positive", "inconclusive"])
async def test_a_member_of_a_pool_reads_retest_until_the_own_single_result(
    district: District, make_round: MakeRound, outcome: str
) -> None:
    guardian, child, other = await residents(district, 3)
    ring = await make_round()
    pool, _ = await ring.filled([child, other])
    await ring.report(ring.result_of(pool, outcome))
    for client in (mine(district, child), mine(district, guardian, child)):
        said = await first(client, "my-samples")
        assert (said["people"], said["stage"], said["outcome"]) == ("pool", "under_retest", "retest")
        assert said["reported_at"]
        retest = await first(client, "my-retests")
        assert (retest["state"], retest["outcome"]) == ("called", None)

    single, swabs = await ring.filled([child], capacity=1)
    assert (await first(mine(district, child), "my-retests"))["state"] == "sampled"
    await ring.report(ring.result_of(single, "positive"))
    own, former = (await mine(district, guardian, child).get("/testing/v1/my-samples")).json()["items"]
    assert (own["id"], own["stage"], own["outcome"]) == (swabs[0]["id"], "resulted", "positive")
    assert (former["stage"], former["outcome"]) == ("retested", None)
    others = await first(mine(district, other), "my-samples")
    assert (others["stage"], others["outcome"]) == ("under_retest", "retest")

    await ring.report(ring.result_of(pool, "negative", 2))
    others = await first(mine(district, other), "my-samples")
    assert (others["stage"], others["outcome"]) == ("resulted", "negative")
    assert (await first(mine(district, other), "my-retests"))["state"] == "withdrawn"


@pytest.mark.parametrize("outcome", ["negative", "positive", "inconclusive"])
async def test_the_result_of_a_drill_is_nobodys(district: District, make_round: MakeRound, outcome: str) -> None:
    people = await residents(district, 2)
    ring = await make_round(drill=True)
    pool, _ = await ring.filled(people)
    await ring.report(ring.result_of(pool, outcome))
    said = await first(mine(district, people[0]), "my-samples")
    assert (said["drill"], said["stage"], said["outcome"], said["reported_at"]) == (True, "resulted", None, None)


async def test_a_retest_says_where_and_how_in_the_readers_language(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    pool, _ = await ring.filled(people)
    await ring.report(ring.result_of(pool, "positive"))
    client = mine(district, people[0])
    steps = []
    for state in ("called", "sampled", "settled"):
        if state == "sampled":
            single, _ = await ring.filled([people[0]], capacity=1)
        if state == "settled":
            await ring.report(ring.result_of(single, "negative"))
        said = await first(client, "my-retests")
        chinese = await client.get("/testing/v1/my-retests", headers={"accept-language": "zh-CN"})
        assert said["state"] == state
        steps += [said["next_step"], chinese.json()["items"][0]["next_step"]]
    assert steps[1] == "请等待工作人员上门，或按社区安排单独采样；结果出来前请不要外出"
    assert "Wait for the staff at home" in steps[0]
    assert len(set(steps)) == 6


async def test_lists_of_ones_own_have_pages_that_hold_everything_once(
    district: District, make_round: MakeRound
) -> None:
    [person] = await residents(district, 1)
    rounds = [await make_round(round=number) for number in range(1, 6)]
    for ring in rounds:
        pool, _ = await ring.filled([person], offline=True)
        await ring.report(ring.result_of(pool, "positive"))
    client = mine(district, person)
    for path in ("my-samples", "my-retests"):
        found, cursor = [], None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(f"/testing/v1/{path}", params=params)).json()
            assert len(page["items"]) <= 2
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(found) == len({one["id"] for one in found}) == 5
        times = [one.get("sampled_at") or one["called_at"] for one in found]
        assert times == sorted(times, reverse=True)
        for wrong in ("x", "350582005s1x", "0-", "fffffffffffffffff-" + "0" * 32):
            refused = await client.get(f"/testing/v1/{path}", params={"cursor": wrong})
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_cursor"), wrong


async def test_the_results_of_a_tube_have_pages(district: District, make_round: MakeRound) -> None:
    people = await residents(district, 2)
    ring = await make_round()
    number, _ = await ring.filled(people)
    for revision, outcome in enumerate(("positive", "negative", "positive", "negative", "invalid"), 1):
        await ring.report(ring.result_of(number, outcome, revision))
    path, found, cursor = f"/testing/v1/tubes/{(await ring.tube(number))['id']}/results", [], None
    while not found or cursor:
        page = (await ring.lab.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert [one["revision"] for one in found] == [1, 2, 3, 4, 5]


def test_no_combination_calls_a_person_positive_but_a_tube_of_their_own() -> None:
    states = ("open", "sealed", "in_transit", "received", "resulted", "discarded")
    outcomes = (None, "negative", "positive", "inconclusive", "invalid")
    flags = (False, True)
    for state, outcome, people, held, drill, retested in itertools.product(
        states, outcomes, ("single", "pool"), flags, flags, flags
    ):
        stage, said = own_result(state, outcome, people, held=held, drill=drill, retested=retested)  # type: ignore[arg-type]
        assert said != "inconclusive"
        assert (said == "retest") == (stage == "under_retest")
        if said == "positive":
            assert (state, outcome, people, drill) == ("resulted", "positive", "single", False)


# Random histories ----------------------------------------------------------------------------------------------------

OUTCOMES = ("positive", "inconclusive", "negative", "invalid")


@dataclass
class Own:
    """A tube for one person, who is in it, what its manifest lists and nobody has sent, and what is in force of it."""

    number: str
    people: set[UUID]
    late: list[dict[str, Any]] = field(default_factory=list)
    outcome: str | None = None
    revision: int = 0


@dataclass
class History:
    """One pool of four and what becomes of it. `tubes`: tubes for one person, some of which hold two."""

    ring: Round
    people: Sequence[UUID]
    pool: str
    pool_revision: int = 0
    tubes: list[Own] = field(default_factory=list)

    def steps(self, chance: Random) -> list[Callable[[], Any]]:
        """What may happen next: a result of the pool, a single swab, a result of a single swab, a late record."""
        person = chance.choice(self.people)
        return [
            self._pool_result(chance),
            self._swab(person, chance),
            self._single_result(person, chance),
            self._late_record,
        ]

    def _pool_result(self, chance: Random) -> Callable[[], Any]:
        async def step() -> None:
            self.pool_revision += 1
            [answer] = await self.ring.report(
                self.ring.result_of(self.pool, chance.choice(OUTCOMES), self.pool_revision)
            )
            assert answer["status"] in ("reported", "corrected"), answer

        return step

    def _swab(self, person: UUID, chance: Random) -> Callable[[], Any]:
        async def step() -> None:
            # Offline, so that a swab nobody called for is kept with an exception, as a device would send it.
            [tube] = await self.ring.roll(capacity=1)
            inside = [person, *chance.choice(((), (chance.choice(self.people),)))]
            swabs = [self.ring.swab(tube, one, offline=True) for one in inside]
            late = swabs[1:] if chance.random() < 0.5 else []
            sent = [swab for swab in swabs if swab not in late]
            assert {answer["status"] for answer in await self.ring.send(*sent)} == {"kept"}
            assert (await self.ring.seal(tube, swabs))["status"] == "sealed"
            await self.ring.deliver(tube)
            self.tubes.append(Own(tube, {UUID(swab["resident_id"]) for swab in sent}, late))
            if chance.choice((True, False)):
                await self._single_result(person, chance)()

        return step

    def _single_result(self, person: UUID, chance: Random) -> Callable[[], Any]:
        async def step() -> None:
            for tube in [tube for tube in self.tubes if person in tube.people][-1:]:
                tube.outcome, tube.revision = chance.choice(("positive", *OUTCOMES)), tube.revision + 1
                [answer] = await self.ring.report(self.ring.result_of(tube.number, tube.outcome, tube.revision))
                assert answer["status"] in ("reported", "corrected"), answer

        return step

    async def _late_record(self) -> None:
        for tube in self.tubes:
            if tube.late:
                swab = tube.late.pop()
                assert (await self.ring.send(swab))[0]["status"] == "kept"
                tube.people.add(UUID(swab["resident_id"]))

    def is_positive(self, person: UUID) -> bool:
        """Whether a tube with nobody else in it is positive."""
        return any(tube.outcome == "positive" and tube.people == {person} and not tube.late for tube in self.tubes)


@settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chance=st.randoms(use_true_random=False))
async def test_whatever_becomes_of_a_pool_nobody_reads_positive_without_a_positive_of_their_own(
    district: District, make_round: MakeRound, chance: Random
) -> None:
    await district.empty()
    guardian, *people = await residents(district, 5)
    ring = await make_round()
    pool, _ = await ring.filled(people)
    history = History(ring, people, pool)
    await history._pool_result(chance)()
    for _ in range(chance.randint(1, 7)):
        await chance.choice(history.steps(chance))()
        district.move_clock(minutes=chance.randint(1, 3))
    await district.settle()
    for person in people:
        for reader in ((person,), (guardian, person)):
            for language, word in (("zh-CN", "阳性"), ("en", "positive")):
                texts = await read(district, *reader, language=language)
                saying = [path for path, text in texts.items() if word in text.lower() or "positive" in text.lower()]
                if not history.is_positive(person):
                    assert saying == [], (history.tubes, texts)
                elif language == "en":
                    assert "/testing/v1/my-samples" in saying, "and who is positive is told so"
