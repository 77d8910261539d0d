"""Somebody's things of every kind, in one community: what no token from elsewhere may see or change."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from services.gateway.webhooks.delivery import Deliverer
from shared.core import clock
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.gateway.signing_in import Pkce, app, outside, person, tokens_of
from tests.gateway.test_hooks import signed
from tests.harness import District
from tests.registry.people import HOUKU, SHATANG, register, send, table
from tests.registry.people import person as resident
from tests.testing.conftest import Round

UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TOWNSHIP = "350582005"
GRID = f"{SHATANG}0101"
MARK = "秘"
"""In every name, reason and title of the state, and in no text of the system's."""

LABORATORY, DESK, HOSPITAL = "lab-of-theirs", "desk-of-theirs", "hospital-of-theirs"
OPEN_TABLES = ("registry.regions", "testing.campaigns", "observation.protocols", "gateway.policies")
"""What everybody may read holds no secret: see the list of the walk."""
PASSING = (
    *("audit", "audit_seals", "audit_sealed", "visit_seals", "visits_sealed"),
    *("idempotency", "feed_cursors", "uploads", "tube_serials"),
)
"""Tables that say what was asked, or count it, not what is the case."""


@dataclass
class State:
    """What there is, by the names of parameters and fields; and the words that would give it away."""

    things: dict[str, str]
    needles: frozenset[str]
    neighbour: UUID


async def populate(district: District) -> State:
    """Fill the four services with one community's things."""
    neighbour = UUID(await register(district, district.caller("registry", Role.COMMAND), place=41, household=None))
    before = await _uuids(district)
    things: dict[str, str] = {"region": SHATANG, "body region": GRID, "code": GRID, "parent": SHATANG}
    words = {MARK}
    await _registry(district, things, words)
    await district.settle()
    await _testing(district, things, words)
    await district.settle()
    await _observation(district, things)
    await _gateway(district, things, words)
    await district.settle()
    await register(district, district.caller("registry", Role.COMMAND), place=56, name=f"{MARK}人乙", region=GRID)
    await _deliver(district)
    await district.settle()
    await _found(district, things)
    [case] = await district.sql(
        "SELECT id::text FROM observation.referrals WHERE reason = 'positive' ORDER BY seq LIMIT 1"
    )
    things["referral_id of the case"] = case["id"]
    needles = (await _uuids(district)) - before | words
    return State(things, frozenset(needles), neighbour)


async def _registry(district: District, things: dict[str, str], words: set[str]) -> None:
    """A family: one of them under a hold, one offered to a neighbouring community; an import; a proxy."""
    command = district.caller("registry", Role.COMMAND, subject="their-command")
    for code in (GRID[:14], GRID):
        await _done(command, "/registry/v1/regions", {"code": code, "name": "第七网格"})
    family = {"region": GRID, "household": "H77777", "phone": "15498765432", "address": f"{MARK}巷7号"}
    made = [await register(district, command, place=place, name=f"{MARK}人甲", **family) for place in (51, 52, 53)]
    case, other, mover = made
    things |= {"resident_id": case, "subject": case, "dependant_id": other}
    things |= {"body resident_id": case, "body guardian_id": case, "body dependant_id": mover}
    shown = (await command.get(f"/registry/v1/residents/{case}")).json()
    things["household_id"] = shown["household_id"]
    words |= {str(shown[name]) for name in ("name", "document_number", "phone") if shown.get(name)}
    await _done(
        command, "/registry/v1/proxies", {"guardian_id": case, "dependant_id": other, "evidence": f"{MARK}户口簿"}
    )
    hold = {"resident_id": case, "reason": f"{MARK}案", "ordered_by": f"{MARK}法院"}
    await _done(command, "/registry/v1/legal-holds", hold | {"until": (clock.now() + timedelta(days=9)).isoformat()})
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope=SHATANG)
    await _done(officer, f"/registry/v1/residents/{mover}/move", {"region": HOUKU, "address": f"{MARK}路1号"})
    rows = [resident(54, **family), resident(55, **family) | {"document_number": "1"}]
    sent = await send(command, table(rows))
    assert sent.status_code == 202, sent.text
    await _periods(district)


async def _periods(district: District) -> None:
    """A proposal in every service."""
    for service in ("registry", "testing", "observation", "gateway"):
        command = district.caller(service, Role.COMMAND, subject="their-command")
        periods = (await command.get(f"/{service}/v1/retention")).json()["periods"]
        first = next(one for one in periods if one["days"])
        period = {"kind": first["kind"], "days": first["days"] + 1, "source": f"{MARK}文"}
        await _done(command, f"/{service}/v1/retention", {"period": period, "reason": f"{MARK}由"})


async def _testing(district: District, things: dict[str, str], words: set[str]) -> None:
    """A round: a positive of one's own tube, a mixed one with its retests, boxes, a swab that was refused."""
    command = district.caller("testing", Role.COMMAND)
    new = {"name": "第一轮", "round": 1, "region": TOWNSHIP, "pool_size": 10}
    new |= {"opens_at": (clock.now() - timedelta(hours=9)).isoformat()}
    new |= {"closes_at": (clock.now() + timedelta(hours=9)).isoformat()}
    campaign = (await _done(command, "/testing/v1/campaigns", new))["id"]
    await _done(command, f"/testing/v1/campaigns/{campaign}/open")
    sampler = district.caller("testing", Role.SAMPLER, scope=SHATANG)
    laboratory = district.caller("testing", Role.LABORATORY, party=LABORATORY)
    await district.know_laboratories(LABORATORY)
    a_round = Round(district, campaign, command, sampler, laboratory)
    case, other = UUID(things["resident_id"]), UUID(things["dependant_id"])
    own = await _filled(a_round, [case], 1)
    mixed = await _filled(a_round, [other], 10)
    await a_round.report(a_round.result_of(own, "positive"), a_round.result_of(mixed, "positive"))
    [waiting] = await a_round.roll(region=SHATANG)
    await a_round.send(a_round.swab(waiting, new_id()), a_round.swab(waiting, other))
    words |= {own, mixed, waiting, LABORATORY}
    things |= {"campaign_id": campaign, "body campaign_id": campaign, "testing number": own}
    things |= {"body tube_number": waiting, "body tube_numbers": mixed}


async def _filled(a_round: Round, people: list[UUID], capacity: int) -> str:
    """A tube with these people in it, received by the laboratory."""
    [tube] = await a_round.roll(region=SHATANG, capacity=capacity)
    swabs = [a_round.swab(tube, one, ago=30) for one in people]
    await a_round.send(*swabs)
    await a_round.send_seals(a_round.seal_of(tube, swabs, laboratory=LABORATORY))
    await a_round.receive(await a_round.box(tube, laboratory=LABORATORY), tube)
    return tube


async def _observation(district: District, things: dict[str, str]) -> None:
    """A fever, beside the orders and the referral that followed from the positive."""
    doctor = district.caller("observation", Role.VILLAGE_DOCTOR, scope=SHATANG)
    fever = {"resident_id": things["dependant_id"], "region": SHATANG, "celsius": 38.4, "symptoms": ["fever"]}
    await _done(doctor, "/observation/v1/referrals", fever | {"measured_at": clock.now().isoformat()})


async def _gateway(district: District, things: dict[str, str], words: set[str]) -> None:
    """Staff who signed in, machines, a protected point with a visit, an endpoint that fails, a message, a trial."""
    await app(district, region=TOWNSHIP, name=f"{MARK}应用", client_id="app-of-theirs")
    someone = await person(district, login="their.grid", role="grid_worker", region=SHATANG)
    pkce = Pkce()
    async with outside(district) as browser:
        signed_in = await someone.sign_in(browser, pkce, client_id="app-of-theirs")
        await tokens_of(browser, signed_in.answer["code"], pkce, client_id="app-of-theirs")
    command = district.caller("gateway", Role.COMMAND)
    point = {"name": f"{MARK}窗口", "region": SHATANG, "slug": "hall-of-theirs", "upstream_url": "http://127.0.0.1:9"}
    point_id = (await _done(command, "/gateway/v1/service-points", point))["id"]
    phone = district.caller("gateway", Role.RESIDENT, residents=(UUID(things["dependant_id"]),))
    token = (await phone.get("/gateway/v1/code")).json()["token"]
    door = district.caller("gateway", Role.DOORKEEPER, party=point_id, scope=SHATANG)
    things["scan_id"] = str(new_id())
    await _done(door, "/gateway/v1/verifications", {"scan_id": things["scan_id"], "token": token})
    types = ["testing.tube.v1", "registry.resident.v1"]
    hook = {"url": "http://127.0.0.1:9/theirs", "types": types, "region": SHATANG}
    await _done(command, "/gateway/v1/webhooks", hook)
    source = {"source": "hospital", "party": HOSPITAL, "region": SHATANG}
    secret = (await _done(command, "/gateway/v1/hook-sources", source))["secret"]
    said = {"type": "referral.dispatched", "timestamp": clock.now().isoformat(), "data": {"referral_id": str(new_id())}}
    async with outside(district) as sender:
        body = json.dumps(said).encode()
        heard = await sender.post("/gateway/v1/hooks/hospital", content=body, headers=signed(secret, body, "m-theirs"))
        assert heard.status_code == 202, heard.text
    policy = (await command.get("/gateway/v1/policies/1")).json()["policy"]
    await _done(command, "/gateway/v1/policies/trials", {"policy": policy | {"version": 2}})
    words |= {"their.grid", "app-of-theirs", "hall-of-theirs", DESK, "127.0.0.1:9", "m-theirs"}
    things |= {"slug": "hall-of-theirs", "path": "x", "source": "hospital", "version": "1", "observation number": "1"}


async def _deliver(district: District) -> None:
    """Try to tell the endpoint, at which nobody listens."""
    deliverer = Deliverer(district.contexts["gateway"])
    try:
        for endpoint in await deliverer.look():
            await deliverer.serve(endpoint)
    finally:
        await deliverer.close()


async def _done(client: httpx.AsyncClient, path: str, body: Any = None) -> Any:
    answer = await client.post(path, json=body)
    assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


FOUND = {
    "registration_id": "registry.registrations WHERE region <> ''",
    "transfer_id": "registry.transfers",
    "import_id": "registry.jobs",
    "hold_id": "registry.holds",
    "proxy_id": "registry.proxies",
    "registry proposal_id": "registry.proposals",
    "testing proposal_id": "testing.proposals",
    "observation proposal_id": "observation.proposals",
    "gateway proposal_id": "gateway.proposals",
    "roll_id": "testing.rolls",
    "tube_id": "testing.tubes WHERE outcome = 'positive'",
    "pool_id": "testing.tubes WHERE capacity > 1 AND state = 'resulted'",
    "sample_id": "testing.samples",
    "box_id": "testing.boxes",
    "retest_id": "testing.retests",
    "order_id": "observation.orders",
    "referral_id": "observation.referrals",
    "account_id": "gateway.accounts",
    "registered_id": "gateway.clients",
    "grant_id": "gateway.grants",
    "session_id": "gateway.sessions",
    "source_id": "gateway.hook_sources",
    "kept_id": "gateway.messages",
    "point_id": "gateway.points",
    "trial_id": "gateway.jobs",
    "endpoint_id": "gateway.webhook_endpoints",
}
"""Where the thing that a parameter names is found; the last one made."""


async def _found(district: District, things: dict[str, str]) -> None:
    for name, where in FOUND.items():
        found = await district.sql(f"SELECT id::text FROM {where} ORDER BY id DESC LIMIT 1")
        assert found, f"the state has no {name}"
        things[name] = found[0]["id"]
        things.setdefault(f"body {name}", things[name])


async def tables(district: District) -> list[str]:
    """All tables of the four services that hold what is the case."""
    rows = await district.sql(
        """
        SELECT relnamespace::regnamespace::text AS service, relname FROM pg_class
        WHERE relnamespace = ANY('{registry,testing,observation,gateway}'::regnamespace[])
          AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1, 2
        """
    )
    return [f"{row['service']}.{row['relname']}" for row in rows if row["relname"] not in PASSING]


async def rows_of(district: District, names: Iterable[str]) -> set[tuple[str, str]]:
    """Every row of those tables, as the table's name and all that the row says."""
    union = " UNION ALL ".join(f"SELECT '{name}' AS name, t::text AS row FROM {name} AS t" for name in names)
    return {(found["name"], found["row"]) for found in await district.sql(union)}


async def _uuids(district: District) -> set[str]:
    rows = await rows_of(district, await tables(district))
    secret, known = (
        {one for name, row in rows if (name in OPEN_TABLES) is is_open for one in UUIDS.findall(row)}
        for is_open in (False, True)
    )
    return secret - known
