"""A batch of swabs is read past the model that declares it, and never means anything else."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.testing.tubes.schemas import Answer, NewSamples, SampleAnswers, Swabs
from shared.http import bodies
from shared.http.bodies import decode_fast, parsed
from shared.http.strict_json import Body
from shared.problems import Problem

ID = "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"
SWAB: dict[str, Any] = {
    "id": ID,
    "campaign_id": ID,
    "tube_number": "000000000130",
    "resident_id": ID,
    "sampled_at": "2021-01-20T09:30:00+08:00",
    "offline": True,
}
TIMES = st.from_regex(
    r"[012]\d{3}-[01]\d-[0-3]\d[Tt _][0-2]\d:[0-6]\d(:[0-6]\d(\.\d{1,6})?)?(Z|z|[+-]\d\d:?\d\d)?", fullmatch=True
)
IDS = st.from_regex(
    r"([0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12})|(\{|urn:uuid:)?[0-9a-f]{32}\}?", fullmatch=True
)


def written(**changed: Any) -> bytes:
    return json.dumps({"items": [SWAB, SWAB | changed]}).encode()


def both(body: bytes) -> tuple[Swabs | None, Swabs | None]:
    """As it is read, and as the model reads it; None where it is refused."""
    return _or_none(fast, body), _or_none(by_the_model, body)


def fast(body: bytes) -> Swabs:
    return decode_fast(Swabs, Body(body))


def by_the_model(body: bytes) -> Swabs:
    return msgspec.json.decode(parsed(NewSamples, body).model_dump_json(), type=Swabs)


def _or_none(read: Callable[[bytes], Swabs], body: bytes) -> Swabs | None:
    try:
        return read(body)
    except (Problem, ValidationError):
        return None


@given(TIMES)
@example("2021-01-20T23:59:60Z")
def test_a_time_is_the_time_the_model_reads(text: str) -> None:
    quick, model = both(written(sampled_at=text))
    assert quick == model


@given(IDS)
def test_an_id_is_the_id_the_model_reads(text: str) -> None:
    quick, model = both(written(id=text))
    assert quick == model


PLAIN = written()
OTHERS = {
    "nothing": b"",
    "no batch": b"[]",
    "null": b"null",
    "no items": b'{"items": []}',
    "too many": json.dumps({"items": [SWAB] * 1001}).encode(),
    "something unknown": written(surplus=1),
    "a text for a truth": written(offline="true"),
    "a number for a truth": written(offline=1),
    "a number for a number of a tube": written(tube_number=130),
    "a line after the number": written(tube_number="000000000130\n"),
    "a NUL": written(tube_number="\0"),
    "no time zone": written(sampled_at="2021-01-20T09:30:00"),
    "seconds since 1970": written(sampled_at=1611100800),
    "only a day": written(sampled_at="2021-01-20"),
    "what is written twice": PLAIN.replace(b'"offline": true}]', b'"offline": true, "offline": false}]'),
    "what is written twice and another not at all": PLAIN.replace(b'"offline": true}]', b'"id": "%s"}]' % ID.encode()),
    "items twice": PLAIN.replace(b'{"items"', b'{"items": [], "items"'),
    "more behind it": PLAIN + b"{}",
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "what is no UTF-8": PLAIN.replace(b"000000000130", b"\xff"),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_model_refuses_is_refused(name: str) -> None:
    assert both(OTHERS[name]) == (None, None)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({"items": [{k: v for k, v in SWAB.items() if k != "offline"}]}).encode(), id="default"),
        pytest.param(PLAIN.replace(b"0130", rb"\u0030130"), id="escaped"),
        pytest.param(PLAIN.replace(b"0130", rb"013\u0030"), id="escaped at the end"),
    ],
)
def test_what_leaves_it_in_doubt_is_read_by_the_model(body: bytes) -> None:
    quick, model = both(body)
    assert quick == model
    assert quick is not None


def test_what_is_plainly_right_is_read_past_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = by_the_model(PLAIN)
    monkeypatch.setattr(bodies, "_read", None)
    assert fast(PLAIN) == model
    assert fast(json.dumps(json.loads(PLAIN), indent=1).encode()) == model


def test_a_scanned_code_is_read_past_the_model_and_never_beside_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    coded = {name: value for name, value in SWAB.items() if name != "resident_id"} | {"token": "FX1.AAAA"}
    body = json.dumps({"items": [coded, SWAB]}).encode()
    model = by_the_model(body)
    with_both, with_none = (json.dumps({"items": [one]}).encode() for one in (SWAB | coded, {**coded, "token": None}))
    assert both(with_both) == both(with_none) == (None, None)
    twice = body.replace(b'"token": "FX1.AAAA"', b'"token": "FX1.AAAA", "token": "FX1.AAAB"')
    assert both(twice) == (None, None)
    monkeypatch.setattr(bodies, "_read", None)
    assert fast(body) == model
    assert [(one.token, one.resident_id) for one in model.items] == [("FX1.AAAA", None), (None, UUID(ID))]


def test_an_answer_is_written_as_the_model_writes_it() -> None:
    swab = fast(PLAIN).items[0]
    body = msgspec.json.encode({"items": [Answer(swab.id, "kept", "over_capacity"), Answer(swab.id, "undone")]})
    assert SampleAnswers.model_validate_json(body).model_dump_json().encode() == body
