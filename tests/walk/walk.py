"""The walk: every operation, asked by everybody it does not concern, and what must not come of it.

What is somebody else's is answered as what does not exist: the same request about things that are nowhere is sent too,
and both answers must be one. So one path through the code gives both, and takes as long; time itself is not measured.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from shared.core.ids import new_id
from tests.harness import District
from tests.registry.people import person, table
from tests.walk.operations import Asked, Operation, Things, operations_of, texts_of
from tests.walk.state import LABORATORY, UUIDS, State, rows_of, tables
from tests.walk.tokens import Token

OPEN_THINGS: Mapping[str, str] = {
    "campaign_id": "a round of sampling is announced to everybody; its figures and people are not",
    "code": "the regions are the country's own",
    "number": "a protocol binds everybody, so everybody may read it",
    "version": "a policy decides over everybody, so everybody may read it",
    "slug": "a protected service is public by its address: the receipt decides who passes",
    "path": "as its slug",
    "source": "a system that posts is known by its signature, not by its name",
}
"""Parameters whose things are no secret, each with the reason. What in them is one is looked for all the same."""

TOLD: Mapping[str, tuple[str, str]] = {
    "POST /observation/v1/referrals": (
        "referral_id of the case",
        "who finds a fever is told under which number 120 comes and how far it is; not why, on what evidence, or where",
    ),
}
"""What an operation tells a stranger of somebody else's things on purpose, each with the reason."""

NAMED: Mapping[str, tuple[str, str]] = {
    "POST /testing/v1/boxes": (
        LABORATORY,
        "laboratories work for every region, so everybody who packs a box is told which are registered",
    ),
}
"""What an operation names to everybody who may call it, each with the reason."""

OWN_ACTS: Mapping[str, str] = {
    "POST /registry/v1/imports": "a job within one's own scope, which refuses the rows of others",
    "POST /registry/v1/retention": "a proposal has no effect until a second person approves",
    "POST /testing/v1/retention": "as above",
    "POST /testing/v1/rolls": "numbers of tubes for one's own region",
    "POST /observation/v1/retention": "as above",
    "POST /observation/v1/protocols": "as above",
    "POST /observation/v1/referrals": "a fever is never refused: it joins the person's episode, or opens one",
    "POST /gateway/v1/retention": "as above",
    "POST /gateway/v1/policies": "as above",
    "POST /gateway/v1/sunset": "as above",
    "POST /gateway/v1/policies/trials": "a trial over one's own scope, which changes no code",
    "POST /gateway/v1/phone-challenges": "open to everybody who has a phone: it says the same of every number",
}
"""Acts of a stranger that add rows, and touch none that was there, each with the reason."""

TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+\d\d:\d\d)")
NOWHERE = {
    "region": "350582005999",
    "body region": "3505820059980101",  # as precise as the one that there is: a grid
    "tube_number": "999999999993",
    "tube_numbers": "999999999993",
}


@dataclass
class Walk:
    """One walk over all operations, and what it found."""

    district: District
    state: State
    tokens: Sequence[Token]
    faults: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    operations: int = 0

    async def over(self, document: dict[str, Any]) -> None:
        """Walk every operation of the document."""
        names = await tables(self.district)
        before = await rows_of(self.district, names)
        # Looks come first: what acts leave in a stranger's own scope would be seen by the looks after them.
        for operation in sorted(
            operations_of(document), key=lambda one: (one.method != "GET", "audit" not in one.path)
        ):
            self.operations += 1
            for token in self.tokens:
                if token.to in ("gateway", operation.service):
                    await self._try(operation, token)
            after = await rows_of(self.district, names)
            self._compare(operation, before, after)
            before = after

    async def _try(self, operation: Operation, token: Token) -> None:
        file = table([person(77, region=self.state.things["body region"])])
        theirs = list(operation.requests(self.state.things, file, token.region))
        for place, request in enumerate(theirs):
            twin = list(operation.requests(_nowhere(self.state.things), file, token.region))[place]
            answer = await self._ask(token, request)
            self.asked[token.kind] += 1
            for fault in self._faults(operation, token, request, answer):
                self._log(operation, token, request, answer, fault)
            if request != twin and not operation.is_open and token.role in operation.roles:
                other = await self._ask(token, twin)
                if _shape(answer, request) != _shape(other, twin):
                    fault = f"not like what does not exist: {other.status_code} {other.text[:200]}"
                    self._log(operation, token, request, answer, fault)

    def _log(self, operation: Operation, token: Token, request: Asked, answer: httpx.Response, fault: str) -> None:
        asked = f"{request.path} {dict(request.params) or ''}"
        said = f"{answer.status_code} {answer.text[:300]}"
        self.faults.append(f"{operation.name} as {token.name}: {fault}\n    {asked}\n    {said}")

    async def _ask(self, token: Token, asked: Asked) -> httpx.Response:
        headers = {"idempotency-key": str(new_id()), "if-match": "*", "accept-language": "en"}
        if (bearer := token.bearer()) is not None:
            headers["authorization"] = f"Bearer {bearer}"
        transport = httpx.ASGITransport(self.district.apps[token.to], raise_app_exceptions=False)
        content = {"files": {"file": ("people.csv", asked.file)}} if asked.file else {}
        if asked.body is not None:
            content = {"json": asked.body}
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{token.to}") as client:
            return await client.request(
                asked.method, asked.path, params=dict(asked.params) or None, headers=headers, **content
            )

    def _faults(self, operation: Operation, token: Token, asked: Asked, answer: httpx.Response) -> Iterator[str]:
        if answer.status_code >= 500 and answer.status_code not in (502, 504):
            yield "it broke"
        if not operation.is_open:
            expected = self._expected(operation, token)
            if expected and answer.status_code != expected:
                yield f"{expected} expected"
        said, heard = answer.text + repr(answer.headers), asked.text
        if operation.name in TOLD:
            heard += self.state.things[TOLD[operation.name][0]]
        if operation.name in NAMED:
            heard += NAMED[operation.name][0]
        if leaked := [one for one in self.state.needles if one in said and one not in heard]:
            yield f"it tells {leaked[:5]}"

    def _expected(self, operation: Operation, token: Token) -> int | None:
        if token.kind == "nobody":
            return 401
        if token.role not in operation.roles:
            return 403
        return 404 if set(operation.parameters) - OPEN_THINGS.keys() else None

    def _compare(self, operation: Operation, before: set[tuple[str, str]], after: set[tuple[str, str]]) -> None:
        gone, come = before - after, after - before
        for name, row in gone:
            self.faults.append(f"{operation.name} changed {name}: {row[:300]}")
        for name, row in come:
            if operation.name not in OWN_ACTS:
                self.faults.append(f"{operation.name} added to {name}: {row[:300]}")


def _looks_first(operation: Operation) -> tuple[bool, bool]:
    return operation.method != "GET", "audit" not in operation.path


def _nowhere(things: Things) -> dict[str, str]:
    """The same, about what there is nowhere; what is no secret stays as it is."""

    def other(name: str, value: str) -> str:
        last = name.split()[-1]
        if last in OPEN_THINGS:
            return value
        return NOWHERE.get(name) or NOWHERE.get(last) or UUIDS.sub(lambda _: str(new_id()), value)

    return {name: other(name, value) for name, value in things.items()}


def _shape(answer: httpx.Response, asked: Asked) -> tuple[int, str]:
    """An answer without what is new in every answer, and without what the caller said."""
    text = answer.text
    for said in (asked.path, *asked.params.values(), *texts_of(asked.body)):
        text = text.replace(said, "#")
    return answer.status_code, TIMES.sub("#", UUIDS.sub("#", text))
