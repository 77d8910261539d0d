"""How codes reach phones: through a gateway for messages, or, where none is set, in the log for demonstration."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import structlog

from services.gateway.accounts.phones import Message
from services.gateway.accounts.rules import masked
from services.gateway.messages.rules import sign_all
from shared import clock
from shared.ids import new_name
from shared.problems import Problem, Text
from shared.settings import Settings

log = structlog.get_logger()

SEND_SECONDS = 5.0
TEXT = "【防线】验证码 {code}，{minutes} 分钟内有效。请勿告诉他人。Your code is {code}; tell nobody."


class NoMessageGateway(Problem):
    """In production, codes can only be sent by a gateway for messages, and none is set."""

    status = 503
    code = "no_message_gateway"
    title = Text(zh="暂时无法发送验证码", en="Codes cannot be sent to phones")
    fix = Text(
        zh="请联系所在社区；管理人员需为系统设置短信网关",
        en="Ask your community office; the operator sets FANGXIAN_PHONE_GATEWAY_URL",
    )


def can_send(settings: Settings) -> bool:
    """Whether a code reaches anybody: a phone, or outside of production the log."""
    return bool(settings.phone_gateway_url) or not settings.production


Sender = Callable[[Message], Awaitable[None]]
"""Sends a code. What fails is told by a log entry; the person asks again."""


async def to_the_log(message: Message) -> None:
    """Show the code to who reads `fangxian logs`: for demonstration. The phone stays masked."""
    log.warning("phone.code", phone=masked(message.phone), code=message.code, minutes=message.minutes)


class ToGateway:
    """Posts `{phone, text}` to a message gateway, signed by Standard Webhooks."""

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
    """In production without a message gateway: say so, and not the code."""
    log.error("phone.no_gateway")


def sender_of(settings: Settings) -> Sender:
    """How this installation sends codes."""
    if settings.phone_gateway_url:
        return ToGateway(settings.phone_gateway_url, settings.phone_gateway_secret.get_secret_value())
    return to_nobody if settings.production else to_the_log
