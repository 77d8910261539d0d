"""POST /gateway/v1/verifications: the hottest route, so a plain ASGI application with no framework in its way.

Mount it with `Route("/gateway/v1/verifications", VerificationEndpoint(...), methods=["POST"])` beside the routers. What
it raises are problems, which the application answers as it answers those of any route.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, cast
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from services.gateway.tokens.rules import LONGEST, BadToken, Key, read_online
from services.gateway.verifications import receipts
from services.gateway.verifications.door import Door, Scan, Visit
from services.gateway.verifications.problems import (
    BY_FAULT,
    ClockBehind,
    ScanIdNotV7,
    ServicePointNotFound,
)
from services.gateway.verifications.rules import AHEAD, BEHIND, Verdict, made_at, tenths
from shared.actors import Actor, Role
from shared.http import strict_json
from shared.http.limits import check_content_type
from shared.http.texts import faults_of
from shared.problems import ClockAhead, Forbidden, InvalidInput, PayloadTooLarge

LONGEST_BODY_BYTES = 2_048


class Verification(BaseModel):
    """A code shown at the point that asks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scan_id: UUID = Field(description="A UUIDv7 of the device's making; the same when the same scan is sent again.")
    token: Annotated[str, Field(min_length=1, max_length=LONGEST)] = Field(description="What the QR says.")
    temperature_celsius: Annotated[float, Field(ge=30, le=45, allow_inf_nan=False)] | None = None


class Verified(msgspec.Struct, frozen=True, omit_defaults=True):
    """The door's answer: one of three words. A receipt, for who passes; why, for others than a doorkeeper."""

    scan_id: UUID
    verdict: str
    word: str
    decided_at: datetime
    receipt: str | None = None
    receipt_expires_at: datetime | None = None
    why: str | None = None


@dataclass(frozen=True)
class VerificationEndpoint:
    """Checks a code, writes the visit, answers. `authenticate` gives the actor, whose party is the service point."""

    door: Door
    authenticate: Callable[[Scope], Actor]
    token_secrets: Callable[[], Mapping[bytes, bytes]]
    receipt_key: Callable[[], Key]
    now: Callable[[], datetime]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor = self.authenticate(scope)
        if actor.role not in Role.DOOR:
            raise Forbidden()
        asked = _parsed(await _body(scope, receive))
        visit = await self.door.verify(self._scan(asked, actor))
        body = _encode(self._answer(visit, actor))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _scan(self, asked: Verification, actor: Actor) -> Scan:
        """The scan that a request is about, by its code. A code that cannot be read is nobody's visit."""
        now = self.now()
        at = _time_of(asked.scan_id, now)
        try:
            shown = read_online(asked.token, self.token_secrets(), now)
        except BadToken as bad:
            raise BY_FAULT[bad.fault](at="/token") from None
        celsius = asked.temperature_celsius
        temperature = None if celsius is None else tenths(celsius)
        return Scan(asked.scan_id, at, _point_of(actor.party), shown.resident_id, shown.shown_by, temperature)

    def _answer(self, visit: Visit, actor: Actor) -> Verified:
        verdict, why = visit.said
        receipt = expires = None
        if verdict is Verdict.PASS:
            admitted = receipts.Receipt(visit.resident_id, visit.point_id, visit.scan_id, visit.decided_at)
            receipt, expires = receipts.write(admitted, self.receipt_key()), admitted.expires_at
        said = None if actor.role is Role.DOORKEEPER else why.label
        return Verified(visit.scan_id, verdict.label, verdict.word, visit.decided_at, receipt, expires, said)


_encode = msgspec.json.Encoder().encode


def _parsed(body: bytes) -> Verification:
    value = strict_json.loads(body)
    try:
        return Verification.model_validate(value)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise InvalidInput(errors=faults_of(faults, value)) from None


def _time_of(scan_id: UUID, now: datetime) -> datetime:
    try:
        at = made_at(scan_id)
    except ValueError:
        raise ScanIdNotV7(at="/scan_id") from None
    if at > now + AHEAD:
        raise ClockAhead(at="/scan_id")
    if at < now - BEHIND:
        raise ClockBehind(at="/scan_id")
    return at


@lru_cache(maxsize=4_096)
def _point_of(party: str) -> UUID:
    try:
        return UUID(party)
    except ValueError:
        raise ServicePointNotFound() from None


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, if it says it is JSON and is not too long."""
    if (b"content-type", b"application/json") not in scope["headers"]:
        check_content_type(Request(scope), ("application/json",))  # other ways to say the same, and what is refused
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += cast("bytes", message.get("body", b""))
        if len(body) > LONGEST_BODY_BYTES:
            raise PayloadTooLarge(limit_bytes=LONGEST_BODY_BYTES)
        if not message.get("more_body", False):
            return body
