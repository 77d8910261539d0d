"""POST /gateway/v1/verifications. It gets the most requests, so it bypasses the framework
(shared/http/fast_path.py)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated
from uuid import UUID

import msgspec
from starlette.types import Scope

from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import whose_online
from services.gateway.verifications import receipts
from services.gateway.verifications.door import Scan, VerificationBatcher, Visit
from services.gateway.verifications.problems import (
    ClockBehind,
    ScanIdNotV7,
    ScanIdTaken,
    ServicePointNotFound,
)
from services.gateway.verifications.rules import AHEAD, BEHIND, MESSAGES, Verdict, made_at, tenths
from services.gateway.verifications.schemas import Verification, Verified
from shared.core.actors import Actor, Role
from shared.crypto.code_tokens import BY_FAULT, LONGEST, BadToken
from shared.http import bodies, strict_json
from shared.http.fast_path import Answer, FastEndpoint, fast_route
from shared.http.route import Route
from shared.http.router import Router
from shared.problems import LANGUAGES, ClockAhead, Forbidden, Language, Sunset, language_of

LONGEST_BODY_BYTES = 4_096
"""The longest token with each character written as two JSON escapes (12 bytes), plus the other fields."""


class _FastVerification(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A Verification, decoded by msgspec."""

    scan_id: UUID
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]
    temperature_celsius: Annotated[float, msgspec.Meta(ge=30, le=45)] | None = None


@dataclass(frozen=True)
class VerificationEndpoint:
    """Checks a code and records the visit. `authenticate` returns the actor; its party is the service point."""

    batcher: VerificationBatcher
    authenticate: Callable[[Scope], Actor]
    keys: Keys
    now: Callable[[], datetime]
    is_over: Callable[[], bool] = lambda: False

    async def handle(self, scope: Scope, body: bytes) -> Answer:
        """Answer one scan after its visit is on disk."""
        actor = self.authenticate(scope)
        if actor.role not in Role.DOOR:
            raise Forbidden()
        if self.is_over():
            raise Sunset()
        visit = await self.batcher.ask(self._scan(_parsed(body), actor))
        location = f"/gateway/v1/visits/{visit.scan_id}".encode()
        return Answer(201, _encode(self._answer(visit, actor, _language_of(scope))), location=location)

    def route(self) -> Route:
        """Declare the route: path, roles, problems and documentation."""
        router = Router(prefix="/gateway/v1/verifications", tags=["service points"])

        @router.post(
            "",
            role=Role.DOOR,
            status=201,
            location="/gateway/v1/visits/{scan_id}",
            client_ids=True,
            response_model=Verified,
            raises=[*set(BY_FAULT.values()), ClockAhead, ClockBehind, ScanIdNotV7, ScanIdTaken, ServicePointNotFound],
        )
        async def verify_code(verification: Verification) -> None:
            """Check a person's code at a service point and record the visit.

            The access token names the service point. The verdict is `pass`, `register` or `turn_back`. `why` gives the
            reason; a doorkeeper never gets it. `word` is the verdict in the language of `Accept-Language`, to show on
            the device. If the person passes, the answer contains a receipt for this person and this point. A repeated
            scan id gets the same answer and does not create a second visit. Source: articles 4 and 6.
            """

        return fast_route(router, FastEndpoint(self.handle, LONGEST_BODY_BYTES))

    def _scan(self, verification: Verification | _FastVerification, actor: Actor) -> Scan:
        """Make a scan of a request. If the code cannot be read, this raises a problem and no visit is recorded."""
        now = self.now()
        at = _time_of(verification.scan_id, now)
        try:
            whose = whose_online(verification.token, self.keys.secrets, now)
        except BadToken as bad:
            raise BY_FAULT[bad.fault](at="/token") from None
        celsius = verification.temperature_celsius
        temperature = None if celsius is None else tenths(celsius)
        return Scan(verification.scan_id, at, _point_of(actor.party), *whose, temperature)

    def _answer(self, visit: Visit, actor: Actor, language: Language) -> Verified:
        verdict, why = visit.decided
        payload: Verified = {
            "scan_id": visit.scan_id,
            "verdict": _LABELS[verdict],
            "word": _MESSAGES[language][verdict],
            "decided_at": visit.decided_at,
        }
        if verdict is Verdict.PASS:
            admitted = receipts.Receipt(
                visit.resident_id, visit.point_id, visit.scan_id, visit.decided_at, visit.receipt_seconds
            )
            payload["receipt"] = receipts.write(admitted, self.keys.current)
            payload["receipt_expires_at"] = admitted.expires_at
        if actor.role is not Role.DOORKEEPER:
            payload["why"] = why.label
        return payload


_LABELS = {verdict: verdict.label for verdict in Verdict}
_MESSAGES = {language: {verdict: text.render(language) for verdict, text in MESSAGES.items()} for language in LANGUAGES}


def _language_of(scope: Scope) -> Language:
    """The language of the answer. `language_of` caches parsed headers."""
    for name, value in scope["headers"]:
        if name == b"accept-language":
            return language_of(value.decode("latin-1"))
    return LANGUAGES[0]


_encode = msgspec.json.Encoder().encode


_decode = msgspec.json.Decoder(_FastVerification).decode


def _parsed(body: bytes) -> Verification | _FastVerification:
    """Decode a body with msgspec if it is plainly valid, otherwise with pydantic, which reports each fault."""
    try:
        verification = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return bodies.parsed(Verification, body)
    keys = 2 if verification.temperature_celsius is None else 3
    is_plain = b"\\" not in body and strict_json.keys_at_most(body) == keys  # so no key occurs twice
    return verification if is_plain else bodies.parsed(Verification, body)


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
