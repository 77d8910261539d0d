"""An import does not undo what is newer, nor make another person of a record, unless its sender says so."""

from typing import Any

import pytest

from services.registry.imports import messages
from services.registry.residents.transfers import settle_requests
from shared.core.actors import Role
from tests.harness import District
from tests.registry.people import (
    HOUKU,
    PHONE,
    SHATANG,
    counts,
    crowd,
    errors_of,
    number,
    person,
    register,
    table,
    take_in,
)

RESIDENTS = "/registry/v1/residents"
NEW_PHONE = "15400000000"


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


async def shown(command, place: int = 1) -> dict[str, Any]:
    (found,) = (await command.post(f"{RESIDENTS}/search", json={"document_number": number(place)})).json()["items"]
    return found


async def correct(command, place: int = 1, **values: Any) -> None:
    """Change a record by hand."""
    id_ = (await shown(command, place))["id"]
    answer = await command.patch(f"{RESIDENTS}/{id_}", json=values, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text


async def test_an_old_file_does_not_undo_what_was_corrected_by_hand(district: District, command) -> None:
    old = table(crowd(2))
    await take_in(district, command, old)
    await correct(command, phone=NEW_PHONE, household="H2")
    trial = await take_in(district, command, old, dry_run="true")
    assert counts(trial) == (0, 0, 1, 1)
    (listed,) = await errors_of(command, trial, "zh-CN")
    assert listed["错误"].startswith("手机号、户号：")
    assert "人工更新，与文件不同" in listed["错误"]
    assert counts(await take_in(district, command, old)) == (0, 0, 1, 1)
    assert (await shown(command))["phone"] == "154****0000"
    assert counts(await take_in(district, command, old, overwrite_newer="true")) == (0, 1, 1, 0)
    assert (await shown(command))["phone"] == "154****5678"
    changed = table([person(1, phone=NEW_PHONE), person(2)])
    assert counts(await take_in(district, command, changed)) == (0, 1, 1, 0), "a file is the newest now"


async def test_an_old_file_moves_nobody_back(district: District, command) -> None:
    await take_in(district, command, table(crowd(1)))
    id_ = (await shown(command))["id"]
    await command.post(f"{RESIDENTS}/{id_}/move", json={"region": HOUKU}, headers={"if-match": "*"})
    job = await take_in(district, command, table(crowd(1)))
    assert counts(job) == (0, 0, 0, 1)
    assert "region (网格编码)" in (await errors_of(command, job))[0]["错误"]
    assert (await shown(command))["region"] == HOUKU


async def test_what_fills_in_an_unknown_value_overwrites_nothing(district: District, command) -> None:
    await register(district, command, phone=None, address=None, household=None)
    job = await take_in(district, command, table([person(1)]))
    assert counts(job) == (0, 1, 0, 0)
    assert (await shown(command))["phone"] == "154****5678"


async def test_the_date_of_a_file_decides_what_is_newer(district: District, command) -> None:
    today = district_day(district)
    await take_in(district, command, table([person(1), person(2)]), as_of="2020-02-01")
    older = await take_in(district, command, table([person(1, phone=NEW_PHONE), person(2)]), as_of="2020-01-31")
    assert counts(older) == (0, 0, 1, 1)
    assert "after the date of the file" in (await errors_of(command, older))[0]["错误"]
    newer = await take_in(district, command, table([person(1, phone=NEW_PHONE), person(2)]), as_of="2020-02-02")
    assert counts(newer) == (0, 1, 1, 0)
    between = await take_in(district, command, table([person(2, phone=NEW_PHONE)]), as_of="2020-02-01")
    assert counts(between) == (0, 0, 0, 1), "what the newer file confirmed is of its day, too"
    await correct(command, 2, phone="15411112222")
    same_day = await take_in(district, command, table([person(2)]), as_of=today)
    assert counts(same_day) == (0, 0, 0, 1)
    district.move_clock(days=1)
    next_day = await take_in(district, command, table([person(2)]), as_of=district_day(district))
    assert counts(next_day) == (0, 1, 0, 0), "a file that is newer than the change by hand"
    district.clock_right()


def district_day(district: District) -> str:
    from shared.core import clock

    return clock.day_of(clock.now()).isoformat()


@pytest.mark.parametrize(("as_of", "code"), [("2999-01-01", "as_of_ahead"), ("yesterday", None)])
async def test_a_date_of_a_file_that_cannot_be(command, as_of: str, code: str | None) -> None:
    answer = await command.post(
        "/registry/v1/imports", files={"file": ("people.csv", table(crowd(1)))}, data={"as_of": as_of}
    )
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == "#/as_of"
    assert code in (None, fault["code"])


async def test_another_name_is_not_taken_without_being_asked_for(district: District, command) -> None:
    await take_in(district, command, table(crowd(2)))
    rows = table([person(1, name="李四", phone=NEW_PHONE), person(2)])
    trial = await take_in(district, command, rows, dry_run="true")
    assert counts(trial) == (0, 0, 1, 1)
    job = await take_in(district, command, rows)
    assert counts(job) == (0, 0, 1, 1)
    (refused,) = await errors_of(command, job)
    assert messages.MESSAGES["name_differs"].en in refused["错误"]
    assert "张" not in refused["错误"].replace("姓名", ""), "the name on the record is not told"
    assert ((await shown(command))["name"], (await shown(command))["phone"]) == ("张**", "154****5678")
    assert counts(await take_in(district, command, rows, rename="true")) == (0, 1, 1, 0)
    assert ((await shown(command))["name"], (await shown(command))["phone"]) == ("李*", "154****0000")


async def test_another_spelling_of_a_name_is_no_other_name(district: District, command) -> None:
    await take_in(district, command, table([person(1, name="阿依古丽•买买提"), person(2, name="John Smith")]))
    rows = [person(1, name="阿依古丽·买买提"), person(2, name="Ｊｏｈｎ ＳＭＩＴＨ")]
    assert counts(await take_in(district, command, table(rows))) == (0, 2, 0, 0)


async def test_the_error_file_sent_again_leaves_the_person_that_was_kept(district: District, command) -> None:
    rows = [person(1), person(1, name="别名", phone=NEW_PHONE), person(2, name="")]
    job = await take_in(district, command, table(rows))
    assert counts(job) == (1, 0, 0, 2)
    content = (await command.get(f"/registry/v1/imports/{job['id']}/errors")).content.decode("utf-8-sig")
    again = await take_in(district, command, content.replace("\r\n,", "\r\n李四,", 1).encode(), rename="true")
    assert (counts(again), again["result"]["ignored"], again["total"]) == ((1, 0, 0, 0), 1, 2)
    assert ((await shown(command))["name"], (await shown(command))["phone"]) == ("张**", "154****5678")
    (duplicate,) = [row for row in await errors_of(command, job, "zh-CN") if row["姓名"] == "别名"]
    assert duplicate["错误"].startswith("重复行：与第 2 行是同一人")


async def test_a_duplicate_whose_mark_was_cleared_is_looked_at(district: District, command) -> None:
    job = await take_in(district, command, table([person(1), person(1, name="李四")]))
    content = (await command.get(f"/registry/v1/imports/{job['id']}/errors")).content.decode("utf-8-sig")
    heading, row = content.splitlines()
    cells = row.replace(number(1), number(3)).split(",")
    corrected = ",".join([*cells[:12], ""])
    assert counts(await take_in(district, command, f"{heading}\n{corrected}\n".encode())) == (1, 0, 0, 0)


async def test_what_a_dry_run_tells_of_people_is_in_the_audit(district: District, command) -> None:
    await take_in(district, command, table(crowd(2)))
    ids = {row["id"] for row in await district.sql("SELECT id FROM registry.residents")}
    before = await district.sql("SELECT max(seq) AS seq FROM registry.audit WHERE operation LIKE 'job %'")
    await take_in(district, command, table([*crowd(2), person(3)]), dry_run="true")
    entries = await district.sql(
        "SELECT subjects FROM registry.audit WHERE operation LIKE 'job %' AND seq > $1", before[0]["seq"]
    )
    assert {id_ for entry in entries for id_ in entry["subjects"]} == ids


async def test_the_result_counts_all_rows_and_names_what_was_left_out(district: District, command) -> None:
    lines = [
        "沙塘社区登记表,,,,",
        "序号,姓名,证件号码,社区,备注",
        f"1,张三,{number(1)},沙塘社区,外地",
        f"2,李四,{number(2)},{SHATANG},",
        f"3,王五,{number(3)},东海社区,",
    ]
    job = await take_in(district, command, "\n".join(lines).encode())
    result = job["result"]
    assert counts(job) == (2, 0, 0, 1)
    assert sum(result[name] for name in ("created", "updated", "unchanged", "failed", "ignored")) == job["total"] == 3
    assert (result["heading_line"], result["columns_left_out"], result["sheets_left_out"]) == (
        2,
        ["A 序号", "E 备注"],
        [],
    )


async def test_strangers_without_a_household_are_no_family(district: District, command) -> None:
    keys = ["无", "无", "/", "0", "不详", "１２０１", "1201"]
    await take_in(district, command, table([person(place, household=key) for place, key in enumerate(keys, start=1)]))
    rows = await district.sql("SELECT household_id FROM registry.residents ORDER BY document_index")
    homes = [row["household_id"] for row in rows if row["household_id"] is not None]
    assert len(homes) == 2
    assert len(set(homes)) == 1


async def test_a_placeholder_by_hand_is_no_household_either(district: District, command) -> None:
    await register(district, command, household="不详")
    await settle_requests(district.contexts["registry"])
    assert (await shown(command))["household_id"] is None
    await correct(command, household="H1", name="张 三", address="沙塘社区\n1区")
    assert (await shown(command))["household_id"] is not None
    await correct(command, household="无")
    assert ((await shown(command))["household_id"], (await shown(command))["name"]) == (None, "张*")
    assert (
        counts(await take_in(district, command, table([person(1, name="张三", phone=PHONE)]), dry_run="true"))[3] == 1
    )
