"""The check after every fault: nothing acknowledged lost, nothing doubled, everything followed and delivered.

It compares what parties were told with what the API serves and with what is in the database, as its owner, and what
each service holds of another's with what that one has. Each family of differences is named; none is all well.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from deploy import feed
from deploy.demo.population import TOWNSHIP
from deploy.up import options
from services.gateway.verifications.rules import Outcome
from tests.faults.acknowledged import Acknowledged
from tests.faults.journey import at_once
from tests.faults.parties import Line, Party, token
from tests.faults.receiver import Subscriber
from tests.faults.site import Site

MOST_SHOWN = 5
REST_WITHIN_SECONDS = 240.0

OWNED = {
    "registry.resident.v1": "SELECT id, version FROM registry.residents",
    "testing.campaign.v1": "SELECT id, version FROM testing.campaigns",
    # An open tube is nobody's business yet, and a box on its way changes nobody's rights: neither is published.
    "testing.tube.v1": "SELECT id, version FROM testing.tubes WHERE state = 'resulted'",
    "testing.retest.v1": "SELECT id, version FROM testing.retests",
    "observation.order.v1": "SELECT id, version FROM observation.orders",
    "observation.referral.v1": "SELECT id, version FROM observation.referrals",
    "gateway.message.v1": "SELECT id, version FROM gateway.messages",
}
CODES = {"gateway.code.v1": "SELECT resident_id AS id, version FROM gateway.codes WHERE version > 1"}
READ = {
    "testing": ("registry.resident.v1", "observation.order.v1"),
    "observation": ("registry.resident.v1", "testing.tube.v1", "gateway.message.v1"),
    "gateway": ("registry.resident.v1", "testing.tube.v1", "observation.order.v1", "observation.referral.v1"),
}
"""What each service holds of others."""

SAMPLES = """
    SELECT samples.id, resident_id, number, exception FROM testing.samples JOIN testing.tubes ON tubes.id = tube_id
    WHERE undone_at IS NULL
"""
TUBES = "SELECT number, state, outcome, manifest, missing FROM testing.tubes"
PEOPLE = {
    "registry": "SELECT id, region, state = 'active' AS active FROM registry.residents",
    "testing": "SELECT id, region, active FROM testing.people",
    "observation": "SELECT id, region, active FROM observation.people",
}
# Sampled last in a tube, not a drill's, whose negative is in force.
NEGATIVES = """
    SELECT resident_id AS id, max(sampled_at) AS at FROM testing.samples JOIN testing.tubes ON tubes.id = tube_id
    WHERE outcome = 'negative' AND NOT held AND NOT drill AND undone_at IS NULL GROUP BY resident_id
"""
FACTS = "SELECT subject, resident_id, kind, answers FROM gateway.facts WHERE source_type = 'testing.tube.v1'"
# A tube for one person with samples of several is a pool: its positive makes nobody red, its negative answers nothing.
FACTS_OF_TUBES = """
    SELECT tubes.id AS subject, resident_id,
        CASE WHEN outcome = 'negative' THEN 'negative' WHEN single THEN 'positive' ELSE 'pool_pending' END,
        answer
    FROM testing.tubes JOIN testing.samples ON samples.tube_id = tubes.id
    CROSS JOIN LATERAL (
        SELECT capacity = 1 AND min(resident_id::text) = max(resident_id::text) AS single
        FROM testing.samples WHERE tube_id = tubes.id AND undone_at IS NULL
    ) AS people
    LEFT JOIN unnest(CASE WHEN single THEN answers END) AS answer ON true
    WHERE outcome IN ('negative', 'positive') AND undone_at IS NULL
"""

Differences = dict[str, list[str]]


@dataclass
class Check:
    """Looks at everything, and says what is not as it must be."""

    site: Site
    line: Line
    done: Acknowledged
    subscriber: Subscriber
    planned: set[tuple[str, str]] = field(default_factory=set)
    """Service and subject of what a test itself made unreadable: to be parked, and nothing else."""
    command: Party = field(init=False)

    async def differences(self) -> Differences:
        """All differences by family, as things are now."""
        self.command = await token(self.line, "command", region=TOWNSHIP)
        async with self.site.owner() as owner:
            found = {
                "acknowledged": await self._acknowledged(owner) + await self._served(),
                "people": await self._people(owner),
                "codes": await self._codes(owner),
                "orders": await self._orders(owner),
                "referrals": await self._referrals(owner),
                "held": await self._held(owner),
                "webhooks": await self._webhooks(owner),
                "parked": await self._dead_letters(),
            }
        return {family: several for family, several in found.items() if several}

    async def settled(self, patience: float = REST_WITHIN_SECONDS) -> Differences:
        """The differences that are left when all runs and the feeds are at rest, or patience is at an end."""
        await self.site.is_whole()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            behind = await self._behind()
            found = {} if behind else await self.differences()
            if behind:
                found["feeds"] = behind
            if not found or loop.time() > deadline:
                return found
            await asyncio.sleep(0.3)

    # Acknowledged, once ----------------------------------------------------------------------------------------------

    async def _acknowledged(self, owner: asyncpg.Connection) -> list[str]:
        done = self.done
        samples = {
            str(row["id"]): (str(row["resident_id"]), row["number"], row["exception"])
            for row in await owner.fetch(SAMPLES)
        }
        tubes = {row["number"]: row for row in await owner.fetch(TUBES)}
        visits = {
            str(row["scan_id"]): Outcome.of(row["outcome"]).verdict.label
            for row in await owner.fetch("SELECT scan_id, outcome FROM gateway.visits")
        }
        return [
            *compare("sample", {id_: _kept(one) for id_, one in done.samples.items()}, samples),
            *compare("sealed tube", done.seals, {n: _manifest(t) for n, t in tubes.items() if t["manifest"]}),
            *compare("result", done.results, {n: t["outcome"] for n, t in tubes.items() if t["outcome"]}),
            *compare("received tube", done.received, {n for n, t in tubes.items() if t["state"] in _ARRIVED}),
            *(f"tube {number} misses {tube['missing']}" for number, tube in tubes.items() if tube["missing"]),
            *compare("visit", done.visits, visits),
            *compare("box", done.boxes, await _ids(owner, "testing.boxes")),
            *compare("campaign", set(done.campaigns), await _ids(owner, "testing.campaigns")),
            *compare("message", set(done.messages.values()), await _ids(owner, "gateway.messages")),
            *compare("region", done.regions, await _grids(owner)),
            *(f"answered 500: {one}" for one in self.line.internal_errors),
        ]

    async def _served(self) -> list[str]:
        """The same, as anybody may ask for it."""
        served: dict[str, tuple[str, str, str | None]] = {}
        doubled: list[str] = []
        for tube in await self.command.all_of("/testing/v1/tubes"):
            for sample in tube["samples"]:
                if sample["id"] in served:
                    doubled.append(f"sample {sample['id']} is served in two tubes")
                served[sample["id"]] = (sample["resident_id"], tube["number"], sample["exception"])
        asked = {id_: _kept(one) for id_, one in self.done.samples.items()}
        people = await self.command.all_of("/registry/v1/residents", region=TOWNSHIP)
        return [
            *doubled,
            *compare("served sample", asked, served),
            *compare("served resident", self.done.homes, {one["id"]: one["region"] for one in people}),
            *(f"a resident is served {n} times" for n in Counter(one["id"] for one in people).values() if n > 1),
        ]

    # What followed ---------------------------------------------------------------------------------------------------

    async def _people(self, owner: asyncpg.Connection) -> list[str]:
        found = {
            service: {str(row["id"]): (row["region"], row["active"]) for row in await owner.fetch(statement)}
            for service, statement in PEOPLE.items()
        }
        codes = await owner.fetch("SELECT resident_id AS id, region FROM gateway.codes")
        return [
            *compare("resident", {id_: (home, True) for id_, home in self.done.homes.items()}, found["registry"]),
            *compare("resident in testing", found["registry"], found["testing"]),
            *compare("resident in observation", found["registry"], found["observation"]),
            *compare(
                "resident in gateway",
                {id_: region for id_, (region, _) in found["registry"].items()},
                {str(row["id"]): row["region"] for row in codes},
            ),
        ]

    async def _codes(self, owner: asyncpg.Connection) -> list[str]:
        """Colours by the plan, facts by testing's own tubes, and the day of the last negative test."""
        ids = list(self.done.homes)
        codes = await at_once(lambda one: self.command.get(f"/gateway/v1/codes/{one}"), self._interesting(ids))
        colours = {code["resident_id"]: code["colour"] for code in codes}
        stored = {
            str(row["id"]): row["colour"]
            for row in await owner.fetch("SELECT resident_id AS id, colour FROM gateway.codes")
        }
        negatives = await owner.fetch("SELECT resident_id AS id, last_negative AS at FROM gateway.codes")
        expected = {id_: self.done.colours.get(id_, "green") for id_ in ids}
        return [
            *compare("code shown", {id_: expected[id_] for id_ in colours}, colours),
            *compare("code", {id_: _COLOURS[colour] for id_, colour in expected.items()}, stored),
            *compare(
                "last negative of",
                {row["id"]: row["at"] for row in await owner.fetch(NEGATIVES)},
                {row["id"]: row["at"] for row in negatives if row["at"]},
            ),
            *compare("fact", _counted(await owner.fetch(FACTS_OF_TUBES)), _counted(await owner.fetch(FACTS))),
        ]

    def _interesting(self, ids: Iterable[str]) -> list[str]:
        """Everybody who is restricted, and every sixth of the others."""
        return [id_ for place, id_ in enumerate(ids) if id_ in self.done.colours or place % 6 == 0]

    async def _orders(self, owner: asyncpg.Connection) -> list[str]:
        orders = await owner.fetch("SELECT resident_id, kind FROM observation.orders WHERE state = 'open'")
        observed = await owner.fetch("SELECT resident_id FROM testing.observed")
        served = await self.command.all_of("/observation/v1/orders", state="open")
        return [
            *compare("order", _counted(self.done.orders.items()), _counted(orders)),
            *compare("served order", self.done.orders, {one["resident_id"]: one["kind"] for one in served}),
            *compare("observed in testing", _counted(self.done.orders), _counted(str(row[0]) for row in observed)),
        ]

    async def _referrals(self, owner: asyncpg.Connection) -> list[str]:
        referrals = await owner.fetch("SELECT resident_id, state FROM observation.referrals")
        retests = await owner.fetch("SELECT resident_id, concat_ws(' ', state, outcome) FROM testing.retests")
        ids = await owner.fetch("SELECT id FROM observation.referrals")
        served = await self.command.all_of("/observation/v1/referrals")
        told = await owner.fetch("SELECT id FROM observation.messages WHERE state = 'applied'")
        return [
            *compare("referral", _counted(self.done.referrals.items()), _counted(referrals)),
            *compare("served referral", self.done.referrals, {one["resident_id"]: one["state"] for one in served}),
            *compare("retest", _counted(self.done.retests.items()), _counted(retests)),
            *(f"fever {one} is lost" for one in set(self.done.fevers.values()) - {str(row["id"]) for row in ids}),
            *compare("message that had an effect", set(self.done.messages.values()), {str(row["id"]) for row in told}),
        ]

    # How it got there ------------------------------------------------------------------------------------------------

    async def _behind(self) -> list[str]:
        lags = await asyncio.to_thread(lambda: feed.lag(feed.installed(options(self.site.data, environment={}))))
        return [f"{one.reader} is {one.entries} behind {one.owner} ({one.priority})" for one in lags if one.entries]

    async def _dead_letters(self) -> list[str]:
        rows = await asyncio.to_thread(
            lambda: feed.dead_letters(feed.installed(options(self.site.data, environment={})))
        )
        return compare("parked", self.planned, {(row.service, row.subject) for row in rows})

    async def _held(self, owner: asyncpg.Connection) -> list[str]:
        """Each service holds just the version of each subject that its owner has."""
        found: list[str] = []
        for service, types in READ.items():
            for type_ in types:
                owned = {row["id"]: row["version"] for row in await owner.fetch(OWNED[type_])}
                held = await owner.fetch(
                    f"SELECT subject AS id, version FROM {service}.feed_held WHERE type = $1", type_
                )
                known = {row["id"]: row["version"] for row in held if self._is_ours(row["id"])}
                if type_ == "testing.tube.v1":
                    known = {id_: version for id_, version in known.items() if id_ in owned}
                found += compare(f"{type_} held by {service}", owned, known)
        return found

    def _is_ours(self, subject: Any) -> bool:
        return str(subject) not in {one for _, one in self.planned}

    async def _webhooks(self, owner: asyncpg.Connection) -> list[str]:
        """The subscriber heard the newest state of everything, each version under one id, and nothing is waiting."""
        newest = self.subscriber.newest()
        expected = {
            (type_, str(row["id"])): row["version"]
            for type_, statement in (OWNED | CODES).items()
            for row in await owner.fetch(statement)
        }
        tubes = {subject for subject in newest if subject[0] == "testing.tube.v1"} - expected.keys()
        waiting = await owner.fetch("SELECT event_id, state FROM gateway.webhook_deliveries WHERE state <> 'delivered'")
        return [
            *compare(
                "newest event",
                expected,
                {s: version for s, version in newest.items() if s not in tubes and self._is_ours(s[1])},
            ),
            *(f"delivery {row['event_id']} is {row['state']}" for row in waiting),
            *(f"delivered under two ids: {one}" for one in self.subscriber.doubled()),
            *(f"delivered anew with another text: {one}" for one in self.subscriber.changed),
            *(["a signature was wrong"] if self.subscriber.refused else []),
        ]


_ARRIVED = ("received", "resulted")
_COLOURS = {"green": 1, "yellow": 2, "red": 3}


def compare(what: str, expected: Any, got: Any) -> list[str]:
    """The differences of two sets, or of two mappings, in words; the first few of each kind."""
    if isinstance(expected, Mapping):
        missing = [f"{what} {key} is missing: {value}" for key, value in expected.items() if key not in got]
        wrong = [
            f"{what} {key} should be {value} and is {got[key]}"
            for key, value in expected.items()
            if key in got and got[key] != value
        ]
        beyond = [f"{what} {key} is one too many: {value}" for key, value in got.items() if key not in expected]
    else:
        missing, wrong = [f"{what} {one} is missing" for one in expected - got], []
        beyond = [f"{what} {one} is one too many" for one in got - expected]
    return [line for several in (missing, wrong, beyond) for line in _some(several)]


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_SHOWN
    return [*lines[:MOST_SHOWN], f"… and {more} more such"] if more > 0 else lines


def _counted(rows: Iterable[Any]) -> Counter[Any]:
    """How often each row is there: twice is one too many."""
    return Counter(row if isinstance(row, str) else tuple(str(value) for value in tuple(row)) for row in rows)


def _kept(record: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return record["resident_id"], record["tube_number"], record["exception"]


def _manifest(tube: Mapping[str, Any]) -> set[str]:
    return {str(one) for one in tube["manifest"]}


async def _ids(owner: asyncpg.Connection, table: str) -> set[str]:
    return {str(row["id"]) for row in await owner.fetch(f"SELECT id FROM {table}")}


async def _grids(owner: asyncpg.Connection) -> set[str]:
    rows = await owner.fetch("SELECT region FROM registry.regions WHERE length(region) > 12")
    counted = Counter(row["region"] for row in rows)
    return {region if count == 1 else f"{region} ({count} times)" for region, count in counted.items()}
