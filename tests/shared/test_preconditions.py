"""Conditional requests: what `If-Match` and `If-None-Match` mean, and that every ETag is looked at."""

import pytest

from shared.core.actors import Role
from shared.http.preconditions import IfMatchMalformed, is_known, matches, tags_of
from tests.harness import District


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"1"', [b'"1"']),
        (b'"1", W/"2" ,"a,b"', [b'"1"', b'W/"2"', b'"a,b"']),
        (b',, "1",', [b'"1"']),
        (b'""', [b'""']),
        (b"1", None),
        (b'"1', None),
        (b'"1" "2"', None),
        (b'w/"1"', None),
        (b'*, "1"', None),
        (b"", None),
    ],
)
def test_a_list_of_entity_tags_is_read(value: bytes, expected: list[bytes] | None) -> None:
    assert tags_of(value) == expected


@pytest.mark.parametrize(
    ("if_match", "holds"),
    [('"1"', True), ('"9", "1"', True), ("*", True), (' "1" ', True), ('"2"', False), ('W/"1"', False)],
)
def test_if_match_compares_strongly(if_match: str, holds: bool) -> None:
    assert matches(if_match, '"1"') is holds


@pytest.mark.parametrize("if_match", ["1", '"1', "", '"1" "2"', "**"])
def test_if_match_that_is_malformed_is_refused(if_match: str) -> None:
    with pytest.raises(IfMatchMalformed):
        matches(if_match, '"1"')


@pytest.mark.parametrize(
    ("if_none_match", "known"),
    [
        (b'"1"', True),
        (b'W/"1"', True),
        (b'"0", W/"1"', True),
        (b"*", True),
        (b'"2"', False),
        (b"1", False),
        (b"", False),
    ],
)
def test_if_none_match_compares_weakly_and_ignores_what_is_malformed(if_none_match: bytes, known: bool) -> None:
    assert is_known(if_none_match, b'"1"') is known


POINT = {"name": "一号窗口", "region": "350582005001", "registers": ["yellow"], "negative_within_hours": 48}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_caller_has_is_answered_304(district: District, method: str) -> None:
    async with district.caller("gateway", Role.COMMAND) as command:
        made = await command.post("/gateway/v1/service-points", json=POINT)
        path, etag = made.headers["location"], made.headers["etag"]
        shown = await command.request(method, path)
        assert (shown.status_code, shown.headers["etag"]) == (200, etag)
        for tags in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            known = await command.request(method, path, headers={"if-none-match": tags})
            assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
            assert "content-type" not in known.headers
        for tags in ('"x"', etag.strip('"')):
            assert (await command.request(method, path, headers={"if-none-match": tags})).status_code == 200


@pytest.mark.parametrize(
    ("tags", "status", "code"),
    [
        (None, 428, "precondition_required"),
        ("*", 200, None),
        ("1", 400, "if_match_malformed"),
        ('W/"1"', 412, "version_mismatch"),
        ('"9"', 412, "version_mismatch"),
        ('"9", "1"', 200, None),
    ],
)
async def test_a_change_names_the_version_it_starts_from(
    district: District, tags: str | None, status: int, code: str | None
) -> None:
    async with district.caller("gateway", Role.COMMAND) as command:
        made = await command.post("/gateway/v1/service-points", json=POINT)
        headers = {} if tags is None else {"if-match": tags}
        changed = await command.patch(made.headers["location"], json={"name": "Ward"}, headers=headers)
        assert (changed.status_code, changed.json().get("code")) == (status, code)


async def test_if_match_is_required_in_the_document_where_it_is(district: District) -> None:
    required = {
        (method, path): parameter.get("required", False)
        for app in district.apps.values()
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "If-Match"
    }
    resident = "/registry/v1/residents/{resident_id}"
    assert required == {
        ("patch", "/gateway/v1/service-points/{point_id}"): True,
        ("patch", resident): True,
        ("post", f"{resident}/close"): False,
        ("post", f"{resident}/move"): False,
        ("post", f"{resident}/reopen"): False,
    }


async def test_every_status_of_a_route_says_its_headers(district: District) -> None:
    for app in district.apps.values():
        for item in app.openapi()["paths"].values():
            for operation in item.values():
                for status, response in operation["responses"].items():
                    wanted = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}.get(status)
                    assert wanted is None or wanted in response["headers"], (operation["operationId"], status)
