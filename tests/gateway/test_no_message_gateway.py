"""In production without a gateway for messages, nobody is promised a code that nothing would send."""

from dataclasses import replace

import httpx
import pytest

from services.gateway.app import create_app
from tests.harness import District
from tests.registry.people import PHONE


@pytest.mark.parametrize(("language", "sentence"), [("zh", "暂时无法发送验证码"), ("en", "Codes cannot be sent")])
async def test_a_challenge_without_a_gateway_is_refused(district: District, language: str, sentence: str) -> None:
    settings = district.database.settings(
        "gateway",
        production=True,
        development_issuer=False,
        demonstration_ids=False,
        wake_subscribers=True,
        public_url="https://fangxian.example",
    )
    context = replace(district.contexts["gateway"], settings=settings)
    transport = httpx.ASGITransport(create_app(settings, context), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="https://fangxian.example") as client:
        answer = await client.post(
            "/gateway/v1/phone-challenges", json={"phone": PHONE}, headers={"accept-language": language}
        )
    assert (answer.status_code, answer.json()["code"]) == (503, "no_message_gateway")
    assert sentence in answer.json()["title"]
    assert await district.sql("SELECT 1 FROM gateway.phone_codes") == []
