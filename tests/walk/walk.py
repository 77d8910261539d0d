"""The walk: every operation, asked by everybody it does not concern, and what must not come of it.

What is somebody else's is answered as what does not exist: the same request about things that are nowhere is sent too,
and both answers must be one. So one path through the code gives both, and takes as long; time itself is not measured.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from shared.ids import new_id
from tests.harness import District
from tests.registry.people import person, table
from tests.walk.operations import Asked, Operation, Things, operations_of
from tests.walk.state import UUIDS, State, rows_of, tables
from tests.walk.tokens import Token

READ_BY_EVERYBODY: Mapping[str, str] = {}
"""Operations whose answer to a stranger holds what the state holds, each with the reason."""

OWN_ACTS: Mapping[str, str] = {}
"""Acts that a stranger does in a scope of their own, and that touch nothing that was there, each with the reason."""

TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+\d\d:\d\d)")
NOWHERE = {"region": "350582005999", "slug": "hall-of-nobody", "source": "municipal"}


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
        for operation in operations_of(document):
            self.operations += 1
            for token in self.tokens:
                if token.to in ("gateway", operation.service):
                    await self._try(operation, token)
            after = await rows_of(self.district, names)
            self._compare(operation, before, after)
            before = after

    async def _try(self, operation: Operation, token: Token) -> None:
        file = table([person(77, region=self.state.things["body region"])])
        theirs = list(operation.requests(self.state.things, file))
        nowhere = list(operation.requests(_nowhere(self.state.things), file))
        for request, twin in zip(theirs, nowhere, strict=True):
            answer = await self._ask(token, request)
            self.asked[token.kind] += 1
            for fault in self._faults(operation, token, request, answer):
                self._say(operation, token, request, answer, fault)
            if self._may_be_told(operation, token) and request != twin and operation.name not in READ_BY_EVERYBODY:
                other = await self._ask(token, twin)
                if _shape(answer, request) != _shape(other, twin):
                    fault = f"not like what does not exist: {other.status_code} {other.text[:200]}"
                    self._say(operation, token, request, answer, fault)

    def _say(self, operation: Operation, token: Token, request: Asked, answer: httpx.Response, fault: str) -> None:
        asked = f"{request.path} {dict(request.params) or ''}"
        said = f"{answer.status_code} {answer.text[:300]}"
        self.faults.append(f"{operation.name} as {token.name}: {fault}\n    {asked}\n    {said}")

    def _may_be_told(self, operation: Operation, token: Token) -> bool:
        return not operation.is_open and token.role in operation.roles

    async def _ask(self, token: Token, asked: Asked) -> httpx.Response:
        headers = {"idempotency-key": str(new_id()), "if-match": "*", "accept-language": "en"}
        if token.bearer is not None:
            headers["authorization"] = f"Bearer {token.bearer}"
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
        if operation.name in READ_BY_EVERYBODY:
            return
        said, heard = answer.text + repr(answer.headers), asked.text
        if leaked := [one for one in self.state.needles if one in said and one not in heard]:
            yield f"it tells {leaked[:5]}"

    def _expected(self, operation: Operation, token: Token) -> int | None:
        if token.kind == "nobody":
            return 401
        if token.role not in operation.roles:
            return 403
        if operation.parameters and operation.name not in READ_BY_EVERYBODY:
            return 404
        return None

    def _compare(self, operation: Operation, before: set[tuple[str, str]], after: set[tuple[str, str]]) -> None:
        gone, come = before - after, after - before
        for name, row in gone:
            self.faults.append(f"{operation.name} changed {name}: {row[:300]}")
        for name, row in come:
            if operation.name not in OWN_ACTS:
                self.faults.append(f"{operation.name} added to {name}: {row[:300]}")
            elif told := [one for one in self.state.needles if one in row]:
                self.faults.append(f"{operation.name} wrote of {told[:5]} in {name}: {row[:300]}")


def _nowhere(things: Things) -> dict[str, str]:
    """The same, about what there is nowhere."""
    return {name: NOWHERE.get(name.split()[-1], UUIDS.sub(lambda _: str(new_id()), value)) for name, value in things.items()}


def _shape(answer: httpx.Response, asked: Asked) -> tuple[int, str]:
    """An answer without what is new in every answer, and without what the caller said."""
    text = TIMES.sub("#", UUIDS.sub("#", answer.text))
    for said in (asked.path, *asked.params.values()):
        text = text.replace(said, "#")
    return answer.status_code, text


def only(operations: dict[str, Any], path: str) -> dict[str, Any]:
    """A document with one path of another."""
    return replace_paths(operations, {path: operations["paths"][path]})


def replace_paths(document: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """A document with other paths."""
    return {**document, "paths": paths}
