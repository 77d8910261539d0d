"""The doctor learns from the gateway's figures that a reverse proxy is not named."""

import asyncio

import httpx
import pytest

from deploy import forwarding
from services.gateway.edge import networks
from tests.deploy.starting import a_port
from tests.gateway.behind_reverse_proxies import serving
from tests.harness import District


async def test_a_proxy_that_nobody_named_is_found(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "SECONDS", 120)
    async with serving(district.apps["registry"]) as port:
        before = await asyncio.to_thread(forwarding.unbelieved, port)
        assert before == networks.UNBELIEVED._value.get()
        transport = httpx.ASGITransport(district.apps["gateway"], client=("203.0.113.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await client.get("/status", headers={"x-forwarded-for": "198.51.100.7"})
        assert await asyncio.to_thread(forwarding.unbelieved, port) == before + 1
        what, is_well, found, mend = await asyncio.to_thread(forwarding.finding, port)
    assert (what, is_well) == ("reverse proxy", False)
    assert found.startswith(f"{before + 1} requests")
    assert "FANGXIAN_PROXY_NETWORKS" in mend


def test_a_gateway_that_does_not_answer_is_another_findings_matter() -> None:
    assert forwarding.finding(a_port())[1:3] == (True, "unknown: the metrics of the gateway cannot be read")
