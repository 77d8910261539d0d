"""What is sealed and does not open: named, never a 500, and logged without what was inside."""

from uuid import UUID

import pytest

from services.registry.residents.transfers import settle_requests
from shared.core.actors import Role
from tests.harness import District
from tests.registry.people import HOUKU, number, person, register, table, take_in

RESIDENTS = "/registry/v1/residents"
ALL = {"fields": ["name"], "purpose": "correction", "reason": "the record looks wrong"}

SPOILED = {
    "cut": ("substring(name_sealed FOR length(name_sealed) - 1)", "[unreadable]", "data_unreadable"),
    "cut to nothing": ("''::bytea", "[unreadable]", "data_unreadable"),
    "of another row": (
        "(SELECT name_sealed FROM registry.residents AS other WHERE other.id <> residents.id LIMIT 1)",
        "[unreadable]",
        "data_unreadable",
    ),
    "of another column": ("document_number_sealed", "[unreadable]", "data_unreadable"),
    "of an unknown key": (r"overlay(name_sealed PLACING '\x0000ffff' FROM 2 FOR 4)", "[unreadable]", "data_unreadable"),
    "of a destroyed key": (r"overlay(name_sealed PLACING '\x0003141d' FROM 2 FOR 4)", "[destroyed]", "data_destroyed"),
}


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


@pytest.mark.parametrize("how", SPOILED)
async def test_it_is_shown_as_such_and_named_where_it_is_needed(
    district: District, command, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    id_, other = await register(district, command), await register(district, command, place=2)
    ring = district.contexts["registry"].keyring
    ring.drop([0x03141D])
    value, shown, problem = SPOILED[how]
    await district.sql(f"UPDATE registry.residents SET name_sealed = {value} WHERE id = $1", UUID(id_))

    one = await command.get(f"{RESIDENTS}/{id_}")
    assert (one.status_code, one.json()["name"], one.json()["phone"]) == (200, shown, "154****5678")
    listed = (await command.get(RESIDENTS)).json()["items"]
    assert {each["id"]: each["name"] for each in listed} == {id_: shown, other: "张**"}, "the others are shown"
    found = await command.post(f"{RESIDENTS}/search", json={"document_number": number()})
    assert [each["name"] for each in found.json()["items"]] == [shown]

    refused = await command.post(f"{RESIDENTS}/{id_}/reveal", json=ALL)
    assert refused.status_code == (410 if problem == "data_destroyed" else 409)
    assert refused.json()["type"].endswith(problem)
    said = capsys.readouterr()
    assert "张三丰" not in said.out + said.err
    assert number() not in said.out + said.err

    changed = await command.patch(f"{RESIDENTS}/{id_}", json={"name": "张三丰"}, headers={"if-match": "*"})
    assert (changed.status_code, changed.json()["name"]) == (200, "张**"), "it can be entered anew"


async def test_a_file_says_anew_what_is_gone(district: District, command) -> None:
    id_ = await register(district, command)
    await district.sql("UPDATE registry.residents SET name_sealed = ''::bytea WHERE id = $1", UUID(id_))
    job = await take_in(district, command, table([person()]))
    assert (job["state"], job["result"]["updated"]) == ("succeeded", 1)
    assert (await command.get(f"{RESIDENTS}/{id_}")).json()["name"] == "张**"


async def test_an_answer_kept_under_a_key_that_was_destroyed_is_named(district: District, command) -> None:
    key = {"idempotency-key": "kept-before-the-end"}
    first = await command.post(RESIDENTS, json=person(), headers=key)
    assert first.status_code == 202
    await district.sql(r"UPDATE registry.idempotency SET answer = overlay(answer PLACING '\x0003141d' FROM 2 FOR 4)")
    district.contexts["registry"].keyring.drop([0x03141D])
    again = await command.post(RESIDENTS, json=person(), headers=key)
    assert (again.status_code, again.json()["type"].rsplit("/", 1)[-1]) == (410, "data_destroyed")


async def test_a_file_of_a_job_that_does_not_open_fails_the_job_by_name(district: District, command) -> None:
    answer = await command.post("/registry/v1/imports", files={"file": ("people.csv", table([person()]))})
    await district.sql("UPDATE registry.uploads SET sealed = substring(sealed FOR 20)")
    await district.settle()
    job = (await command.get(answer.headers["location"])).json()
    assert (job["state"], job["error"]) == ("failed", "data_unreadable")


async def test_a_move_of_somebody_whose_name_is_gone_is_refused_by_name(district: District, command) -> None:
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope="350582005001")
    id_ = await register(district, command)
    await district.sql("UPDATE registry.residents SET name_sealed = ''::bytea WHERE id = $1", UUID(id_))
    refused = await officer.post(f"{RESIDENTS}/{id_}/move", json={"region": HOUKU})
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[-1]) == (409, "data_unreadable")
    await settle_requests(district.contexts["registry"])
