"""Bodies are taken for what they say: no text for a number, no number for a date; and before anything is looked up."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts.times import Day, Instant
from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District

ID = "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"
CAMPAIGN: dict[str, Any] = {
    "name": "第一轮",
    "round": 1,
    "region": "350582005",
    "pool_size": 10,
    "opens_at": "2021-01-20T08:00:00+08:00",
    "closes_at": "2021-01-21T20:00:00+08:00",
}
SAMPLE = {"id": ID, "campaign_id": ID, "tube_number": "000000000130", "resident_id": ID, "sampled_at": "2021-01-20T09Z"}


async def test_what_may_be_said_is_listed_in_the_callers_language(district: District) -> None:
    command = district.caller("testing", Role.COMMAND)
    for language, words in (("zh-CN", "只能是 1、5、10、20。"), ("en", "This must be 1, 5, 10 or 20.")):
        body = CAMPAIGN | {"pool_size": 7}
        answer = await command.post("/testing/v1/campaigns", json=body, headers={"accept-language": language})
        assert answer.json()["errors"][0]["detail"] == words


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"round": "1"}, "int_type"),
        ({"round": True}, "int_type"),
        ({"round": 1.5}, "int_type"),
        ({"round": 1e30}, "int_type"),
        ({"drill": 1}, "bool_type"),
        ({"drill": "yes"}, "bool_type"),
        ({"name": 7}, "string_type"),
        ({"pool_size": "10"}, "literal_error"),
        ({"opens_at": 1611100800}, "datetime_type"),
        ({"opens_at": "1611100800"}, "datetime_parsing"),
        ({"opens_at": "2021-01-20T08:00:00"}, "timezone_aware"),
    ],
)
async def test_nothing_passes_for_something_else(district: District, changed: dict[str, Any], code: str) -> None:
    command = district.caller("testing", Role.COMMAND)
    answer = await command.post("/testing/v1/campaigns", json=CAMPAIGN | changed)
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == (f"#/{next(iter(changed))}", code)


async def test_a_whole_number_is_an_integer_however_it_is_written(district: District) -> None:
    command = district.caller("testing", Role.COMMAND)
    made = await command.post("/testing/v1/campaigns", json=CAMPAIGN | {"round": 1.0, "pool_size": 1e1})
    assert (made.status_code, made.json()["round"], made.json()["pool_size"]) == (201, 1, 10)
    door = district.caller("gateway", Role.DOORKEEPER, party=ID)
    scan = {"scan_id": str(new_id()), "token": "FX1.x", "temperature_celsius": 37.0, "surplus": 2.0}
    answer = await door.post("/gateway/v1/verifications", json=scan)
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["#/surplus"]


async def test_a_place_within_a_list_keeps_its_pointer(district: District) -> None:
    sampler = district.caller("testing", Role.SAMPLER)
    answer = await sampler.post("/testing/v1/samples", json={"items": [SAMPLE | {"offline": "true"}]})
    places = {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]}
    assert places == {("#/items/0/offline", "bool_type"), ("#/items/0/sampled_at", "datetime_from_date_parsing")}


async def test_routes_without_a_framework_read_as_strictly(district: District) -> None:
    door = district.caller("gateway", Role.DOORKEEPER, party=ID)
    scan = {"scan_id": str(new_id()), "token": "FX1.x", "temperature_celsius": "36.5"}
    answer = await door.post("/gateway/v1/verifications", json=scan)
    assert answer.json()["errors"][0] == {
        "pointer": "#/temperature_celsius",
        "code": "float_type",
        "detail": "This must be a number.",
    }


async def test_what_is_wrong_with_a_body_is_said_before_anything_is_looked_up(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    change = {"pregnant": {"valid_until": 0}}
    answer = await command.patch(f"/registry/v1/residents/{ID}", json=change, headers={"if-match": '"9"'})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/pregnant/valid_until")
    gate = {"name": "北门", "region": "350582005001"}
    officer = district.caller("gateway", Role.COMMAND)
    point = (await officer.post("/gateway/v1/service-points", json=gate)).headers["location"]
    for wrong in ({"receipt_seconds": False}, {"fever_celsius": 50}, {"name": ""}, {"slug": "A B"}):
        answer = await officer.patch(point, json=wrong, headers={"if-match": '"9"'})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"#/{next(iter(wrong))}")
    answer = await officer.patch(point, json={"medical": True}, headers={"if-match": '"9"'})
    assert answer.status_code == 412


async def test_another_if_match_is_another_act(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    key = {"idempotency-key": "the-same-key"}
    path = f"/registry/v1/residents/{ID}/close"
    too_long = await command.post(path, json={"reason": "died"}, headers=key | {"if-match": "1" * 1_001})
    assert (too_long.status_code, too_long.json()["errors"][0]["parameter"]) == (422, "If-Match")
    grid = {"code": "35058200500131", "name": "片"}
    regions = "/registry/v1/regions"
    assert (await command.post(regions, json=grid, headers=key)).status_code == 201
    assert (await command.post(regions, json=grid, headers=key)).status_code == 201
    other = await command.post(regions, json=grid, headers=key | {"if-match": '"1"'})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_a_name_in_an_address_is_nobodys_id(district: District) -> None:
    command = district.caller("registry", Role.COMMAND)
    answer = await command.patch("/registry/v1/residents/search", json={}, headers={"if-match": '"1"'})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


@pytest.mark.parametrize("text", ["0", "1611100800", "20210120", "2021-01-20T00:00:00Z", "2021-02-30", ""])
def test_only_a_day_is_a_day(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Day).validate_python(text)


@pytest.mark.parametrize("text", ["0", "1611100800", "2021-01-20", "2021-01-20T08:30:00", "08:30:00Z", ""])
def test_only_an_instant_is_an_instant(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_python(text)
