"""Everything the system does with one person, and with what is sent wrongly about them.

The answers are kept to be searched, but for the two that are asked for in clear: a reveal, and the rows of a file that
have to be corrected.
"""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import openpyxl

from deploy import feed
from deploy.demo.population import TOWNSHIP
from deploy.up import options
from shared.core.ids import new_id
from tests.canary.needles import ADDRESS, NAME, NEW_PHONE, NUMBER, OTHER_NUMBER, PHONE
from tests.faults.check import CODES, OWNED
from tests.faults.parties import Line, post_signed
from tests.faults.receiver import Subscriber
from tests.faults.site import Site, until
from tests.registry.people import HOUKU, SHATANG, number, table

GRID = f"{SHATANG}0101"
LABORATORY, DESK = "lab-jinjiang", "desk_120"
TOLD = {
    "registry.resident.v1",
    "testing.tube.v1",
    "observation.order.v1",
    "observation.referral.v1",
    "gateway.code.v1",
}
"""What the subscriber hears of, at least."""
RESIDENTS, IMPORTS = "/registry/v1/residents", "/registry/v1/imports"

CANARY = {
    "name": NAME,
    "document_number": NUMBER,
    "phone": PHONE,
    "region": GRID,
    "address": ADDRESS,
    "household": "H00001",
}
OTHER = CANARY | {"document_number": OTHER_NUMBER}
"""Another of the household, with the same name, phone and address."""


@dataclass
class Story:
    """One installation, who is told of it, and every answer it gave."""

    site: Site
    client: httpx.AsyncClient
    subscriber: Subscriber
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Answers that no request may get: 5xx."""
    _bearers: dict[str, str] = field(default_factory=dict)

    async def ask(self, who: str, method: str, path: str, *, clear: bool = False, **content: Any) -> httpx.Response:
        """One request. `clear` is for the answers that are to say it."""
        headers = {"authorization": f"Bearer {self._bearers[who]}", "idempotency-key": str(new_id())} if who else {}
        headers |= content.pop("headers", {})
        answer = await self.client.request(method, path, headers=headers, **content)
        if not clear:
            head = repr(sorted(answer.headers.items())).encode()
            self.answers.append((f"answer to {method} {path[:40]} ({answer.status_code})", head + answer.content))
        if answer.status_code >= 500:
            self.errors.append(f"{method} {path[:60]}: {answer.status_code} {answer.text[:300]}")
        return answer

    async def done(self, who: str, method: str, path: str, body: Any = None, **content: Any) -> Any:
        """One request that succeeds, and what it says."""
        answer = await self.ask(who, method, path, **({} if body is None else {"json": body}), **content)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    async def play(self) -> None:
        """All of it."""
        await self._arrive()
        await self._import()
        await self._register()
        await self._test()
        await self._follow_up()
        await self._at_the_door()
        await self._reveal()
        await self._change()
        await self._go_wrong()
        await self._all_is_published()

    async def _all_is_published(self) -> None:
        """Wait for what follows: until every service is where the others are, and nothing waits for the subscriber."""

        async def at_rest() -> bool:
            lags = await asyncio.to_thread(lambda: feed.lag(feed.installed(options(self.site.data, environment={}))))
            async with self.site.owner() as owner:
                waits = await owner.fetchval(
                    "SELECT count(*) FROM gateway.webhook_deliveries WHERE state <> 'delivered'"
                )
            told = {event["type"] for event in list(self.subscriber.events.values())}
            return not waits and not any(one.entries for one in lags) and told >= TOLD

        await until("all is told", at_rest)

    async def _arrive(self) -> None:
        for role, grant in {
            "command": {"region": TOWNSHIP},
            "officer": {"region": SHATANG},
            "doctor": {"region": SHATANG},
            "sampler": {"region": SHATANG},
            "laboratory": {"party": LABORATORY},
        }.items():
            name = {"officer": "community_officer", "doctor": "village_doctor"}.get(role, role)
            await self._sign_in(role, role=name, **grant)
        for code in (GRID[:14], GRID):
            await self.done("command", "POST", "/registry/v1/regions", {"code": code, "name": "网格"})
        client = {"client_id": LABORATORY, "kind": "machine", "name": "检验科", "region": TOWNSHIP}
        client |= {"role": "laboratory", "party": LABORATORY}
        await self.done("command", "POST", "/gateway/v1/clients", client)
        hook = {"url": self.subscriber.url, "types": [*OWNED, *CODES], "region": TOWNSHIP}
        self.subscriber.secret = (await self.done("command", "POST", "/gateway/v1/webhooks", hook))["secret"]
        source = {"source": DESK, "party": DESK, "region": TOWNSHIP}
        self.desk_secret = (await self.done("command", "POST", "/gateway/v1/hook-sources", source))["secret"]

    async def _sign_in(self, who: str, **grant: str) -> None:
        said = await self.client.post("/gateway/v1/development/tokens", json=grant)
        self._bearers[who] = said.json()["access_token"]

    # Registry --------------------------------------------------------------------------------------------------------

    async def _import(self) -> None:
        """Small and large, right and wrong, CSV and XLSX, tried and done."""
        wrong = [
            CANARY | {"document_number": NUMBER[:-1] + ("0" if NUMBER[-1] != "0" else "1")},
            CANARY | {"region": "1"},
        ]
        many = [
            CANARY,
            *wrong,
            *({"name": NAME, "document_number": "x" * 9, "address": ADDRESS} for _ in range(15_000)),
        ]
        large = table(many)
        assert len(large) > 1 << 20, "it does not stay in memory"
        for content, form in ((table([CANARY, *wrong]), {"dry_run": "true"}), (large, {}), (table([CANARY]), {})):
            job = await self._take_in("people.csv", content, form)
            assert job["state"] == "succeeded", job
            errors = await self.ask("officer", "GET", f"{IMPORTS}/{job['id']}/errors", clear=True)
            assert errors.is_success
        await self._take_in("people.xlsx", _workbook(), {})
        await self._take_in("people.csv", table([CANARY], encoding="gb18030"), {})
        await self._take_in("people.csv", f'姓名,证件号码\n{NAME},"{NUMBER}'.encode(), {})
        self.person = (await self._find({"document_number": NUMBER}))[0]["id"]

    async def _take_in(self, name: str, content: bytes, form: dict[str, str]) -> Any:
        sent = await self.ask("officer", "POST", IMPORTS, files={"file": (name, content)}, data=form)
        if not sent.is_success:
            return None

        async def ended() -> Any:
            job = await self.done("officer", "GET", f"{IMPORTS}/{sent.json()['id']}")
            return job if job["state"] not in ("queued", "running") else None

        return await until("the import ends", ended)

    async def _find(self, asked: Mapping[str, str]) -> list[Any]:
        found: list[Any] = (await self.done("officer", "POST", f"{RESIDENTS}/search", asked))["items"]
        return found

    async def _register(self) -> None:
        """Another of the family, the same twice under one key; looked up in every way."""
        for _ in range(2):
            said = await self.done("officer", "POST", RESIDENTS, OTHER, headers={"idempotency-key": "canary-0001"})

        async def settled() -> Any:
            request = await self.done("officer", "GET", f"/registry/v1/registrations/{said['id']}")
            return request if request["state"] == "settled" else None

        self.other = (await until("the request is settled", settled))["resident_id"]
        assert (await self.ask("officer", "POST", RESIDENTS, json=OTHER)).status_code == 409
        assert {one["id"] for one in await self._find({"phone": PHONE})} == {self.person, self.other}
        for path in (RESIDENTS, f"{RESIDENTS}/{self.person}", "/registry/v1/registrations", "/registry/v1/transfers"):
            await self.done("officer", "GET", path)
        await self._sign_in("resident", role="resident", resident_id=self.person)
        await self.done("resident", "GET", f"{RESIDENTS}/{self.person}")

    # Testing ---------------------------------------------------------------------------------------------------------

    async def _test(self) -> None:
        """A swab of one's own, positive."""
        now = datetime.now(UTC)

        async def plan() -> Any:
            asked = {
                "name": "第一轮",
                "round": 1,
                "region": SHATANG,
                "pool_size": 1,
                "opens_at": (now - timedelta(hours=1)).isoformat(),
                "closes_at": (now + timedelta(hours=8)).isoformat(),
            }
            planned = await self.done("command", "POST", "/testing/v1/campaigns", asked)
            if planned["expected"] == 2:
                return planned
            await self.done("command", "POST", f"/testing/v1/campaigns/{planned['id']}/cancel")
            return None

        campaign = (await until("testing knows both", plan))["id"]
        await self.done("command", "POST", f"/testing/v1/campaigns/{campaign}/open")
        roll = {"campaign_id": campaign, "region": GRID, "capacity": 1, "count": 1}
        (tube,) = (await self.done("sampler", "POST", "/testing/v1/rolls", roll))["numbers"]
        sample = {
            "id": str(new_id()),
            "campaign_id": campaign,
            "tube_number": tube,
            "resident_id": self.person,
            "sampled_at": now.isoformat(),
            "offline": False,
        }
        for _ in range(2):
            await self.done("sampler", "POST", "/testing/v1/samples", {"items": [sample]})
        seal = {"tube_number": tube, "sealed_at": now.isoformat(), "manifest": [sample["id"]], "laboratory": LABORATORY}
        await self.done("sampler", "POST", "/testing/v1/seals", {"items": [seal]})
        boxes = "/testing/v1/boxes"
        box = (await self.done("sampler", "POST", boxes, {"tube_numbers": [tube], "laboratory": LABORATORY}))["id"]
        for act in ("pick-up", "depart"):
            await self.done("sampler", "POST", f"{boxes}/{box}/{act}")
        await self.done("laboratory", "POST", f"{boxes}/{box}/receive", {"tube_numbers": [tube]})
        result = {"tube_number": tube, "outcome": "positive", "tested_at": datetime.now(UTC).isoformat()}
        await self.done("laboratory", "POST", "/testing/v1/results", {"items": [result]})
        await self.done("resident", "GET", "/testing/v1/my-samples")
        await self.done("officer", "GET", f"/testing/v1/campaigns/{campaign}/missing", params={"region": GRID})

    # Observation -----------------------------------------------------------------------------------------------------

    async def _follow_up(self) -> None:
        """The positive is referred, the household observed; the 120 desk tells more than it should."""

        async def of(path: str, person: str) -> Any:
            return (await self.done("officer", "GET", path, params={"resident_id": person}))["items"]

        (referral,) = await until("the positive is referred", lambda: of("/observation/v1/referrals", self.person))
        (order,) = await until("the other is observed", lambda: of("/observation/v1/orders", self.other))
        for part in ("", "/plan", "/notice"):
            await self.done("officer", "GET", f"/observation/v1/orders/{order['id']}{part}")
        line = Line(self.client, Random(1))
        for kind, extra in (
            ("dispatched", {"patient": NAME, "phone": PHONE, "phone_number": int(PHONE), "hospital": "晋江市医院"}),
            ("on_board", {"hospital": f"晋江市医院 {PHONE}", "document": {"number": NUMBER}, NAME: ADDRESS}),
        ):
            told = {
                "type": f"referral.{kind}",
                "timestamp": datetime.now(UTC).isoformat(),
                "data": {"referral_id": referral["id"], **extra},
                "sender": NAME,
            }
            await post_signed(line, DESK, self.desk_secret, f"{kind}-{referral['id']}", told)
        await self.done("command", "GET", "/gateway/v1/messages")
        fever = {"resident_id": self.other, "region": SHATANG, "celsius": 38.4}
        fever["measured_at"] = datetime.now(UTC).isoformat()
        await self.done("doctor", "POST", "/observation/v1/referrals", fever)

    # Gateway ---------------------------------------------------------------------------------------------------------

    async def _at_the_door(self) -> None:
        point = await self.done("command", "POST", "/gateway/v1/service-points", {"name": "大厅", "region": SHATANG})
        await self._sign_in("door", role="doorkeeper", party=point["id"], region=SHATANG)

        async def red() -> bool:
            return (await self.done("command", "GET", f"/gateway/v1/codes/{self.person}"))["colour"] == "red"

        await until("the code is red", red)
        code = await self.done("resident", "GET", "/gateway/v1/code")
        await self.done("resident", "GET", "/gateway/v1/code.svg")
        for _ in range(2):
            await self.done(
                "door", "POST", "/gateway/v1/verifications", {"scan_id": str(new_id()), "token": code["token"]}
            )

    async def _reveal(self) -> None:
        asked = {"fields": ["name", "document_number", "phone", "address"], "purpose": "medical_transfer"}
        for reason in ("transfer to the hospital", "transfer to the hospital", f"call {NAME} at {PHONE}"):
            answer = await self.ask(
                "officer",
                "POST",
                f"{RESIDENTS}/{self.person}/reveal",
                clear=NAME not in reason,
                json=asked | {"reason": reason},
            )
            assert (answer.status_code == 200) is (NAME not in reason), answer.text

    async def _change(self) -> None:
        """A new phone, a move within and one that another has to agree to, a transfer and the end."""
        path = f"{RESIDENTS}/{self.other}"
        await self.done("officer", "PATCH", path, {"phone": NEW_PHONE, "name": NAME}, headers={"if-match": "*"})
        await self.done("officer", "POST", f"{path}/move", {"region": SHATANG, "address": ADDRESS})
        await self.done("officer", "POST", f"{path}/move", {"region": HOUKU, "address": ADDRESS})
        (offer,) = (await self.done("command", "GET", "/registry/v1/transfers"))["items"]
        await self.done("command", "POST", f"/registry/v1/transfers/{offer['id']}/accept")

        async def arrived() -> bool:
            return (await self.done("command", "GET", path))["region"] == HOUKU

        await until("the other has moved", arrived)
        await self._sign_in("neighbour", role="community_officer", region=HOUKU)
        await self.done("neighbour", "POST", RESIDENTS, CANARY | {"region": HOUKU})
        await self.done("command", "POST", f"{path}/close", {"reason": "died"})

    # Wrongly ---------------------------------------------------------------------------------------------------------

    async def _go_wrong(self) -> None:
        """The person in every place where nobody should put them."""
        both = f"{NAME} {NUMBER} {PHONE} {ADDRESS}"
        in_url = quote(both)
        for path in (
            f"{RESIDENTS}/{NUMBER}",
            f"{RESIDENTS}/{in_url}",
            f"{RESIDENTS}?region={PHONE}",
            f"{RESIDENTS}?region={in_url}&cursor={in_url}&{in_url}={in_url}",
            f"/gateway/v1/codes/{NUMBER}",
            f"/gateway/v1/code?resident_id={in_url}",
            f"/nowhere/{in_url}",
            f"/services/{in_url}/x",
            f"/problems/{in_url}",
            f"/testing/v1/campaigns/{NUMBER}/progress?region={in_url}",
        ):
            await self.ask("officer", "GET", path)
        headers = {
            "x-request-id": PHONE,
            "accept-language": quote(NAME),
            "if-match": f'"{NUMBER}"',
            "idempotency-key": NUMBER,
            "x-original-uri": f"/services/{in_url}",
            "user-agent": both.encode("ascii", "xmlcharrefreplace").decode(),
            "referer": f"https://example.cn/?{in_url}",
            "cookie": f"phone={PHONE}",
        }
        await self.ask("officer", "GET", f"{RESIDENTS}/{self.person}", headers=headers)
        await self.ask("officer", "POST", RESIDENTS, headers=headers, json={"x": 1})
        await self.ask("", "GET", f"{RESIDENTS}/{self.person}", headers={"authorization": f"Bearer {NUMBER}"})
        await self._wrong_bodies(both)

    async def _wrong_bodies(self, both: str) -> None:
        json_type = {"content-type": "application/json"}
        for content in (
            f'{{"name": "{NAME}", "document_number": "{NUMBER}", "phone": "{PHONE}", ',
            f'{{"name": "{NAME}", "name": "{NAME}"}}',
            f'{{"name": "{NAME}\\u0000", "document_number": "{NUMBER}", "region": "{SHATANG}"}}',
            f'["{both}"]',
            f'"{both}"',
            both,
        ):
            await self.ask("officer", "POST", RESIDENTS, content=content.encode(), headers=json_type)
            await self.ask("door", "POST", "/gateway/v1/verifications", content=content.encode(), headers=json_type)
            await self.ask("", "POST", f"/gateway/v1/hooks/{DESK}", content=content.encode(), headers=json_type)
        gb = both.encode("gb18030")
        await self.ask("officer", "POST", RESIDENTS, content=gb, headers=json_type)
        await self.ask("officer", "POST", RESIDENTS, content=gb, headers={"content-type": quote(NAME)})
        for values in (
            {"phone": NUMBER},
            {"document_number": PHONE},
            {"document_number": NUMBER[:-1] + "?"},
            {"region": NUMBER},
            {"sex": NAME},
            {"birth_date": both},
            {"household": {"of": NAME}},
            {"name": NAME * 100},
            {"document_type": int(PHONE)},
            {"note": both},
            {NAME: 1, PHONE: 2, NUMBER: 3, ADDRESS: 4},
            {"pregnant": {NUMBER: NAME}},
        ):
            await self.ask("officer", "POST", RESIDENTS, json=OTHER | values)
        scan = {"scan_id": NUMBER, "token": both}
        await self.ask("door", "POST", "/gateway/v1/verifications", json=scan)
        await self.ask("door", "POST", "/gateway/v1/verifications", json=scan | {"scan_id": str(new_id())})
        await self.ask("officer", "POST", f"{RESIDENTS}/search", json={"document_number": both[:40]})
        await self.ask("officer", "POST", f"{RESIDENTS}/search", json={"phone": NAME * 3})
        items = {"items": [{"id": NUMBER, "tube_number": NAME, "resident_id": PHONE}]}
        await self.ask("sampler", "POST", "/testing/v1/samples", json=items)
        await self.ask("officer", "POST", IMPORTS, files={"file": (f"{NAME}{NUMBER}.csv", b"\x00" + both.encode())})
        await self.ask("officer", "POST", IMPORTS, files={NAME: (NAME, both.encode())})
        await self.ask("officer", "POST", IMPORTS, data={"file": both})


def _workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (
        ["姓名", "证件号码", "手机号", "网格编码", "住址"],
        [NAME, NUMBER, PHONE, GRID, ADDRESS],
        [NAME, number(1), NUMBER, "1", ADDRESS],
    ):
        sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()
