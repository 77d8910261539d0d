"""Sends codes to phones through a message gateway. Without one, a demonstration writes them to the log."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import structlog

from services.gateway.accounts.phones import Message
from services.gateway.accounts.rules import masked
from services.gateway.messages.rules import sign_all
from shared.core import clock
from shared.core.ids import new_name
from shared.core.settings import Settings
from shared.problems import LocalizedText, Problem

log = structlog.get_logger()

SEND_SECONDS = 5.0
TEXT = "【防线】验证码 {code}，{minutes} 分钟内有效，请勿告诉他人。Your code is {code}. Do not share it."


class NoMessageGateway(Problem):
    """In production, codes can only be sent by a message gateway, and none is configured."""

    status = 503
    code = "no_message_gateway"
    title = LocalizedText(zh="暂时无法发送验证码", en="Codes cannot be sent to phones at present")
    fix = LocalizedText(
        zh="请联系所在社区；系统管理员需配置短信网关（FANGXIAN_PHONE_GATEWAY_URL）",
        en="Ask your community. The operator must set FANGXIAN_PHONE_GATEWAY_URL",
    )


def can_send(settings: Settings) -> bool:
    """Whether codes can be sent: to phones, or to the log if this is not production."""
    return bool(settings.phone_gateway_url) or not settings.production


Sender = Callable[[Message], Awaitable[None]]
"""Sends a code. A failure is only logged; the person requests the code again."""


async def to_the_log(message: Message) -> None:
    """Write the code to the log for demonstrations (`fangxian logs`). The phone is masked."""
    log.warning("phone.code", phone=masked(message.phone), code=message.code, minutes=message.minutes)


class ToGateway:
    """Posts `{phone, text}` to a message gateway, signed as Standard Webhooks specifies."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret

    async def __call__(self, message: Message) -> None:
        text = TEXT.format(code=message.code, minutes=message.minutes)
        body = httpx.Request("POST", self._url, json={"phone": message.phone, "text": text}).content.decode()
        headers = sign_all([self._secret], new_name(), clock.now(), body) | {"content-type": "application/json"}
        try:
            async with asyncio.timeout(SEND_SECONDS), httpx.AsyncClient(trust_env=False) as client:
                (await client.post(self._url, content=body, headers=headers)).raise_for_status()
        except (httpx.HTTPError, TimeoutError) as error:
            log.warning("phone.not_sent", error=type(error).__name__)


async def to_nobody(_: Message) -> None:
    """Log that there is no message gateway, without the code. For production."""
    log.error("phone.no_gateway")


def sender_of(settings: Settings) -> Sender:
    """Return how this installation sends codes."""
    if settings.phone_gateway_url:
        return ToGateway(settings.phone_gateway_url, settings.phone_gateway_secret.get_secret_value())
    return to_nobody if settings.production else to_the_log
