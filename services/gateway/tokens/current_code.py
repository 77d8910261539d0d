"""GET /gateway/v1/code: a resident's own code with the token of this minute. On the fast path, without the framework.

Requests that arrive while the connection is busy are read in one batch. The connection has the residents' database
role. Before each batch its scope is set to the residents of the batch, so row-level security hides all other codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs
from uuid import UUID

import asyncpg
import msgspec
from fastapi import Query
from starlette.types import Scope

from services.gateway.accounts.binding import NotBound
from services.gateway.batcher import Batcher, Connect, RunBatch
from services.gateway.codes.policy import Colour, Policy, YellowName
from services.gateway.codes.routes import Spoken
from services.gateway.codes.rules import colour_at
from services.gateway.codes.schemas import CodeShown
from services.gateway.codes.use_cases import in_words, policy_of_document
from services.gateway.tokens.keys import Keys
from services.gateway.tokens.rules import Key, Subject, issue
from shared.core.actors import Actor, Role
from shared.http.fast_path import Answer, FastEndpoint, fast_route
from shared.http.route import Route
from shared.http.router import Router
from shared.problems import Fault, Forbidden, InvalidInput, LocalizedText, NotFound, language_of

SET_SCOPE = "select set_config('scope.residents', $1, false)"
SELECT_CODES = """
select resident_id, colour, until, colour_after, green_from, last_negative, policy, reasons::text
from gateway.codes where resident_id = any($1::uuid[])
"""
SELECT_POLICY = "select document::text from gateway.policies where version = $1"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(enc_hook=vars).encode
"""Encodes models by their fields. The bytes equal those of pydantic, in a third of the time."""
_IS_UUID = LocalizedText(zh="应为 UUID", en="This must be a UUID")


class KeptCode(NamedTuple):
    """The stored code of one person."""

    resident_id: UUID
    colour: int
    until: datetime | None
    colour_after: int | None
    green_from: datetime | None
    last_negative: datetime | None
    policy: int
    reasons: list[dict[str, Any]]


class Found(NamedTuple):
    """A code with its policy."""

    code: KeptCode
    policy: Policy


CurrentCodes: TypeAlias = Batcher[UUID, Found]
"""Reads codes by resident id, many in one batch. Raises Unavailable or NotFound."""


def codes_over(connect: Connect) -> CurrentCodes:
    """Return a batcher that reads codes. It runs while it is entered as a context manager."""
    policies: dict[int, Policy] = {}

    async def prepare(connection: asyncpg.Connection) -> RunBatch[UUID, Found]:
        set_scope, select_codes = await connection.prepare(SET_SCOPE), await connection.prepare(SELECT_CODES)

        async def run(ids: Sequence[UUID]) -> Sequence[Found | Exception]:
            await set_scope.fetch("{" + ",".join(map(str, ids)) + "}")
            codes = {row[0]: _kept(row) for row in await select_codes.fetch(ids)}
            for version in {code.policy for code in codes.values()} - policies.keys():
                policies[version] = policy_of_document(version, await connection.fetchval(SELECT_POLICY, version))
            return [Found(code, policies[code.policy]) if (code := codes.get(one)) else NotFound() for one in ids]

        return run

    return Batcher(connect, prepare)


@dataclass(frozen=True)
class CurrentCodeEndpoint:
    """Shows residents their own code or that of a dependant."""

    codes: CurrentCodes
    authenticate: Callable[[Scope], Actor]
    keys: Keys
    now: Callable[[], datetime]
    yellow: YellowName

    async def handle(self, scope: Scope, _: bytes) -> Answer:
        """Return the current code in the reader's language, with the content of the QR code."""
        actor = scope["state"]["actor"] = self.authenticate(scope)
        if actor.role is not Role.RESIDENT:
            raise Forbidden()
        resident_id = person_of(actor, _requested_id(scope["query_string"]))
        code, policy = await self.codes.ask(resident_id)
        now = self.now()
        token = token_of(code, self.keys.current, now, actor)
        payload = in_words(code, policy, now, language_of(_language(scope)), token, yellow=self.yellow)
        return Answer(200, _encode(vars(payload)))

    def route(self) -> Route:
        """Declare the route: path, roles, problems and documentation."""
        router = Router(prefix="/gateway/v1/code", tags=["codes"])

        @router.get("", role=Role.RESIDENT, raises=[NotBound, NotFound], response_model=CodeShown)
        async def show_own_code(spoken: Spoken = None, resident_id: Dependant = None) -> None:
            """Show your own code, its reasons, how each reason ends, and the content of the QR code for this minute.

            Available for every colour. With `resident_id` a guardian shows the code of a dependant. The QR code then
            also contains the guardian.
            """

        return fast_route(router, FastEndpoint(self.handle))


Dependant = Annotated[
    UUID | None,
    Query(description="Id of a dependant whose code to show.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"]),
]


def _kept(row: asyncpg.Record) -> KeptCode:
    *columns, reasons = row
    return KeptCode._make((*columns, _decode(reasons)))


def token_of(code: KeptCode, key: Key, now: datetime, actor: Actor) -> str:
    """Return the content of the QR code. For offline devices it includes how the colour changes by time alone."""
    colour = colour_at(code, now)
    until, after = code.until, code.colour_after
    if until is not None and now >= until:
        until, after = code.green_from, Colour.GREEN
    if colour is Colour.GREEN or until is None:
        until = after = None
    subject = Subject(code.resident_id, colour, until, None if after is None else Colour(after), code.last_negative)
    return issue(subject, key, now, shown_by=None if code.resident_id == actor.resident_id else actor.resident_id)


def _requested_id(query: bytes) -> UUID | None:
    values = parse_qs(query.decode("ascii", "replace")).get("resident_id") if query else None
    try:
        return UUID(values[-1]) if values else None
    except ValueError:
        fault = Fault("uuid_parsing", _IS_UUID, parameter="resident_id", location="query")
        raise InvalidInput(errors=[fault]) from None


def person_of(actor: Actor, requested: UUID | None) -> UUID:
    """Return whose code to show. Raises NotBound, or NotFound if the caller may not act for the person."""
    person = requested or actor.resident_id
    if person is None:
        raise NotBound()
    if person not in actor.residents:
        raise NotFound()
    return person


def _language(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"accept-language":
            return str(value, "latin-1")
    return None
