"""The page for integrators is a program: it is run as it stands, against a real installation, by real parties."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo.receiver import serving
from shared.core.ids import new_id
from tests import prepared

BLOCK = re.compile(r"^```python integrating\n(.*?)^```", re.MULTILINE | re.DOTALL)
HOME = "350582005001"


def until(ask: Callable[[], Any]) -> Any:
    for _ in range(300):
        if found := ask():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


class Field:
    """Those who have done their part before the laboratory and the desk come in."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60)

    def as_(self, role: str, **grant: str) -> Callable[..., Any]:
        token = self.client.post("/gateway/v1/development/tokens", json={"role": role, **grant}).json()["access_token"]

        def call(path: str, body: Any = None, method: str = "POST") -> Any:
            headers = {"authorization": f"Bearer {token}", "idempotency-key": str(new_id())}
            answer = self.client.request(method, path, json=body, headers=headers)
            assert answer.is_success, answer.text
            return answer.json()

        return call

    def prepare(self) -> dict[str, str]:
        """A tube under way to the laboratory, and its secret; a referral of somebody with fever, and the desk's."""
        officer, command = self.as_("community_officer", region=HOME), self.as_("command", region="350582005")
        number = "003582199003070019"
        officer("/registry/v1/residents", {"name": "张三丰", "document_number": number, "region": HOME})
        found = until(lambda: officer("/registry/v1/residents/search", {"document_number": number})["items"])
        whole = self.as_("command", region="")
        laboratory = {"client_id": "lab-jinjiang", "kind": "machine", "name": "检验科", "region": ""}
        made = whole("/gateway/v1/clients", laboratory | {"role": "laboratory", "party": "lab-jinjiang"})
        self._send_tube(command, found[0]["id"])
        fever = {"resident_id": found[0]["id"], "region": HOME, "celsius": 38.4, "symptoms": ["fever"]}
        referral = officer("/observation/v1/referrals", fever | {"measured_at": datetime.now(UTC).isoformat()})
        source = {"source": "desk_120", "party": "desk_120", "region": "350582005"}
        secret = whole("/gateway/v1/hook-sources", source)["secret"]
        return {"REFERRAL": referral["id"], "DESK_SECRET": secret, "LAB_SECRET": made["client_secret"]}

    def _send_tube(self, command: Callable[..., Any], resident_id: str) -> None:
        now = datetime.now(UTC)
        opens, closes = (now - timedelta(hours=1)).isoformat(), (now + timedelta(hours=1)).isoformat()
        round_ = {"name": "第一轮", "round": 1, "region": HOME, "pool_size": 10, "drill": False}
        times = {"opens_at": opens, "closes_at": closes}

        def planned() -> Any:
            campaign = command("/testing/v1/campaigns", round_ | times)
            if campaign["expected"] == 1:
                return campaign
            return command(f"/testing/v1/campaigns/{campaign['id']}/cancel") and None

        campaign = until(planned)
        command(f"/testing/v1/campaigns/{campaign['id']}/open")
        roll = {"campaign_id": campaign["id"], "region": HOME, "capacity": 10, "count": 1}
        (number,) = command("/testing/v1/rolls", roll)["numbers"]
        sampler = self.as_("sampler", region=HOME)
        sample = {"id": str(new_id()), "campaign_id": campaign["id"], "tube_number": number, "offline": False}
        sample |= {"resident_id": resident_id, "sampled_at": now.isoformat()}
        assert sampler("/testing/v1/samples", {"items": [sample]})["items"][0]["status"] == "kept"
        seal = {"tube_number": number, "sealed_at": now.isoformat(), "manifest": [sample["id"]]}
        seals = {"items": [seal | {"laboratory": "lab-jinjiang"}]}
        until(lambda: sampler("/testing/v1/seals", seals)["items"][0]["status"] != "refused")
        box = sampler("/testing/v1/boxes", {"tube_numbers": [number], "laboratory": "lab-jinjiang"})
        sampler(f"/testing/v1/boxes/{box['id']}/pick-up")
        sampler(f"/testing/v1/boxes/{box['id']}/depart")


@pytest.fixture
def field() -> Iterator[Field]:
    settings = {"FANGXIAN_DEMONSTRATION_IDS": "true", "FANGXIAN_WEBHOOK_NETWORKS": '["127.0.0.0/8"]'}
    with prepared.running(settings) as running:
        yield Field(running.url)


def test_the_page_for_integrators(field: Field, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = BLOCK.findall((repository / "docs" / "integrating.md").read_text(encoding="utf-8"))
    found = field.prepare()
    referral = found["REFERRAL"]
    page: dict[str, Any] = {}
    with serving(lambda *request: page["receive"](*request)) as receiver:
        monkeypatch.setenv("FANGXIAN", str(field.client.base_url))
        monkeypatch.setenv("RECEIVER", f"{receiver}/fangxian")
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"integrating.md, block {number}", "exec"), page)
        until(lambda: page["held"].get(referral, {}).get("dispatched_at"))  # which was told last
    assert page["held"][referral]["state"] == "on_board"
    assert page["receive"]("/fangxian", {"webhook-id": "1"}, b"{}") == (401, {})
    assert [one["outcome"] for one in page["corrected"]] == ["inconclusive"]
    (loop,) = (block for block in blocks if "/receive" in block)
    exec(compile(loop, "integrating.md, with no box under way", "exec"), page)
    assert page["corrected"] == []
