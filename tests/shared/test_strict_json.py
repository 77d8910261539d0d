"""Strict JSON: takes exactly what json.loads takes of what means one thing, and says where the rest is wrong."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.http import handlers, strict_json
from shared.http.bodies import StrictRequest, strictly
from shared.http.strict_json import MAX_DEPTH, MAX_VALUES, loads
from shared.problems import MalformedJson

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(['":', ':"', '"', "\\", "\\u0000", "{[", "]}", "\\ud800", " :", "😀", '\\":'])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=40)
STYLES: list[dict[str, Any]] = [
    {},
    {"ensure_ascii": False},
    {"separators": (",", ":")},
    {"indent": 1, "ensure_ascii": False},
    {"separators": (" ,\r\n", "\t: ")},
]


@given(VALUES, st.sampled_from(STYLES))
def test_what_is_right_reads_as_it_does_elsewhere(value: Any, style: dict[str, Any]) -> None:
    text = json.dumps(value, **style).encode()
    found = loads(text)
    expected = json.loads(text)
    assert found == expected
    assert repr(found) == repr(expected)  # 1, 1.0 and True are equal but not the same


@given(VALUES, st.sampled_from(STYLES), st.data())
def test_mutated_bytes_raise_nothing_but_malformed_json(value: Any, style: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(json.dumps(value, **style).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"}", b"[", b"\\u", b"NaN", b"e999"]))
        body[at : at + data.draw(st.integers(0, 3))] = piece
    _agrees(bytes(body))


@given(st.text('\\u"dD89abcdefAB012 ', max_size=40))
@example("\\ud800\\ud800")
@example("\\ud83d\\ude00")
@example("\\udc00\\ud800")
def test_surrogates_come_in_pairs_only(inside: str) -> None:
    _agrees(f'"{inside}"'.encode())


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", ":", '":', "\\u0061"]), st.sampled_from(['":"', "1", "{}", '"'])),
        max_size=4,
    )
)
def test_no_repeated_key_hides(pairs: list[tuple[str, str]]) -> None:
    _agrees(("{" + ", ".join(f'"{key}" :{value}' for key, value in pairs) + "}").encode())


def _agrees(body: bytes) -> None:
    """Strict or not, whatever is taken is what the slow, exact reader takes."""
    try:
        found = loads(body)
    except MalformedJson:
        with pytest.raises(MalformedJson):
            strict_json._read_slowly(body)
    else:
        assert repr(found) == repr(strict_json._read_slowly(body)) == repr(json.loads(body))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "byte 0 is not UTF-8"),
        (b'{"a":"\xff"}', "byte 6 is not UTF-8"),
        (b'["\xed\xa0\x80"]', "not UTF-8"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        ('{"姓名":1,}'.encode(), "syntax error at byte 12"),
        (b"[1] x", "syntax error at byte 4"),
        (b"{'a':1}", "syntax error at byte 1"),
        (b"[01]", "syntax error"),
        (b'["\t"]', "syntax error"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_byte(body: bytes, told: str) -> None:
    with pytest.raises(MalformedJson) as caught:
        loads(body)
    assert told in caught.value.detail("en")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a":{"b":1,"b":2}}', "#/a/b"),
        (b'{"a" : 1, "a" : ":"}', "#/a"),
        (b'{"a":1,"\\u0061":2}', "#/a"),
        (b'[{"a":":x","a":1}]', "#/0/a"),
        (b'{"a":[1,"\\u0000"]}', "#/a/1"),
        (b'{"a":{"x\\u0000":1}}', "#/a"),
        (b'{"a":"\\ud800"}', "#/a"),
        (b'{"a":"\\udc00\\ud800"}', "#/a"),
        (b'{"a":[9223372036854775808]}', "#/a/0"),
        (b'{"a":-9223372036854775809}', "#/a"),
        (b'{"a":1e999}', "#/a"),
        (b'{"a":' + b"9" * 10_000 + b"}", "#/a"),
        (b"9223372036854775808", "#"),
    ],
)
def test_what_could_be_read_in_two_ways_is_told_with_its_pointer(body: bytes, place: str) -> None:
    with pytest.raises(MalformedJson) as caught:
        loads(body)
    assert [fault.where for fault in caught.value.errors] == [place]


@pytest.mark.parametrize("inside", [b"", b'"]]]]}}}{{{{"', b'"{["'])
def test_depth_ends_at_its_limit(inside: bytes) -> None:
    inside = inside or b"1"
    assert loads(b"[" * MAX_DEPTH + inside + b"]" * MAX_DEPTH)
    with pytest.raises(MalformedJson, match="malformed_json") as caught:
        loads(b'{"a":' * (MAX_DEPTH + 1) + inside + b"}" * (MAX_DEPTH + 1))
    assert "nested deeper" in caught.value.detail("en")


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b"[" * 100_000 + b"]" * 100_000, b'{"":' * 300_000])
def test_a_bottomless_body_ends_quickly(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        loads(body)


def test_the_number_of_values_ends_at_its_limit() -> None:
    assert len(loads(b"[" + b",".join([b"0"] * (MAX_VALUES - 1)) + b"]")) == MAX_VALUES - 1
    for extra in (b"0", b'"\\u0000"'):  # as the quick reader finds it, and as the slow one does
        with pytest.raises(MalformedJson) as caught:
            loads(b"[" + b",".join([b"0"] * (MAX_VALUES - 1) + [extra]) + b"]")
        assert "more than 200000" in caught.value.detail("en")


def test_a_key_of_a_megabyte_is_not_repeated() -> None:
    with pytest.raises(MalformedJson) as caught:
        loads(b'{"a":{"' + b"k" * 1_000_000 + b'":1e999}}')
    assert len(json.dumps(caught.value.body("en"))) < 1_000


class Strict(APIRoute):
    """As a router would use it."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def run(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return run


class Named(BaseModel):
    name: str


async def test_a_strict_route_answers_with_the_problem() -> None:
    app = FastAPI()
    app.router.route_class = Strict

    @app.post("/named")
    @strictly
    async def take(named: Named) -> Named:
        return named

    handlers.install(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        headers = {"content-type": "application/json", "accept-language": "en"}
        twice = await http.post("/named", content=b'{"name":"a","name":"b"}', headers=headers)
        once = await http.post("/named", content=b'{"name":"a"}', headers=headers)
    assert (once.status_code, once.json()) == (200, {"name": "a"})
    assert (twice.status_code, twice.json()["code"]) == (400, "malformed_json")
    assert twice.json()["errors"][0]["pointer"] == "#/name"
