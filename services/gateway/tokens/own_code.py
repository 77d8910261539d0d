"""GET /gateway/v1/code: a resident's own code, with the token of this minute. Hot, so it stands before the framework.

Those who ask while a connection is busy are read together. The connection works under the residents' database role, and
before each batch its scope is made to be those who ask: so it can read nobody else's code.
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
from shared.actors import Actor, Role
from shared.http.hot import Answer, Hot, hot
from shared.http.route import Route
from shared.http.router import Router
from shared.problems import Fault, Forbidden, InvalidInput, NotFound, Text, language_of

ENTER = "select set_config('scope.residents', $1, false)"
READ = """
select resident_id, colour, until, colour_after, green_from, last_negative, policy, reasons::text
from gateway.codes where resident_id = any($1::uuid[])
"""
POLICY = "select document::text from gateway.policies where version = $1"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(enc_hook=vars).encode
"""Models by their fields: byte for byte what pydantic makes of them, in a third of the time."""
_IS_UUID = Text(zh="应为 UUID", en="This must be a UUID")


class KeptCode(NamedTuple):
    """What is kept of one person's code."""

    resident_id: UUID
    colour: int
    until: datetime | None
    colour_after: int | None
    green_from: datetime | None
    last_negative: datetime | None
    policy: int
    reasons: list[dict[str, Any]]


class Found(NamedTuple):
    """A code, and the policy it follows from."""

    code: KeptCode
    policy: Policy


OwnCodes: TypeAlias = Batcher[UUID, Found]
"""Reads the codes of those who ask, many at once. Raises Unavailable or NotFound."""


def codes_over(connect: Connect) -> OwnCodes:
    """What reads codes while it is entered."""
    policies: dict[int, Policy] = {}

    async def prepare(connection: asyncpg.Connection) -> RunBatch[UUID, Found]:
        enter, read = await connection.prepare(ENTER), await connection.prepare(READ)

        async def run(ids: Sequence[UUID]) -> Sequence[Found | Exception]:
            await enter.fetch("{" + ",".join(map(str, ids)) + "}")
            codes = {row[0]: _kept(row) for row in await read.fetch(ids)}
            for version in {code.policy for code in codes.values()} - policies.keys():
                policies[version] = policy_of_document(version, await connection.fetchval(POLICY, version))
            return [Found(code, policies[code.policy]) if (code := codes.get(one)) else NotFound() for one in ids]

        return run

    return Batcher(connect, prepare)


@dataclass(frozen=True)
class OwnCodeEndpoint:
    """Shows a resident the code of their own or of a dependant."""

    codes: OwnCodes
    authenticate: Callable[[Scope], Actor]
    keys: Keys
    now: Callable[[], datetime]
    yellow: YellowName

    async def handle(self, scope: Scope, _: bytes) -> Answer:
        """The code as it is now, in the reader's language, with the text for the QR."""
        actor = scope["state"]["actor"] = self.authenticate(scope)
        if actor.role is not Role.RESIDENT:
            raise Forbidden()
        resident_id = person_of(actor, _asked(scope["query_string"]))
        code, policy = await self.codes.ask(resident_id)
        now = self.now()
        token = token_of(code, self.keys.current, now, actor)
        said = in_words(code, policy, now, language_of(_language(scope)), token, yellow=self.yellow)
        return Answer(200, _encode(vars(said)))

    def route(self) -> Route:
        """Where it is asked, and what it promises."""
        router = Router(prefix="/gateway/v1/code", tags=["codes"])

        @router.get("", role=Role.RESIDENT, raises=[NotBound, NotFound], response_model=CodeShown)
        async def show_own_code(spoken: Spoken = None, resident_id: Dependant = None) -> None:
            """Show your own code, its reasons, how each ends, and the text for the QR of this minute.

            Available for every colour. With `resident_id` a guardian shows the code of a dependant; the QR says so.
            """

        return hot(router, Hot(self.handle))


Dependant = Annotated[
    UUID | None,
    Query(description="A dependant, to show their code.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"]),
]


def _kept(row: asyncpg.Record) -> KeptCode:
    *columns, reasons = row
    return KeptCode._make((*columns, _decode(reasons)))


def token_of(code: KeptCode, key: Key, now: datetime, actor: Actor) -> str:
    """The text for the QR: it says what time alone will make of the colour, for devices that check it offline."""
    colour = colour_at(code, now)
    until, after = code.until, code.colour_after
    if until is not None and now >= until:
        until, after = code.green_from, Colour.GREEN
    if colour is Colour.GREEN or until is None:
        until = after = None
    subject = Subject(code.resident_id, colour, until, None if after is None else Colour(after), code.last_negative)
    return issue(subject, key, now, shown_by=None if code.resident_id == actor.resident_id else actor.resident_id)


def _asked(query: bytes) -> UUID | None:
    asked = parse_qs(query.decode("ascii", "replace")).get("resident_id") if query else None
    try:
        return UUID(asked[-1]) if asked else None
    except ValueError:
        fault = Fault("uuid_parsing", _IS_UUID, parameter="resident_id", place="query")
        raise InvalidInput(errors=[fault]) from None


def person_of(actor: Actor, asked: UUID | None) -> UUID:
    """Whose code is shown. Somebody else's is as unknown as nobody's."""
    person = asked or actor.resident_id
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
