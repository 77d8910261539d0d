"""R2: a file of people is taken in once, resumed where it stopped, and answered row by row."""

import io
import zipfile
from typing import Any

import openpyxl
import pytest

from services.registry.imports import import_job, messages, spool
from services.registry.imports.columns import COLUMNS
from services.registry.imports.faults import FILE_CODES, ROW_CODES
from services.registry.residents.identity import REASONS
from services.registry.residents.transfers import settle_requests
from shared.contracts.registry import Resident
from shared.core.actors import Role
from tests.harness import District
from tests.registry.people import (
    ADDRESS,
    ELSEWHERE,
    HOUKU,
    IMPORTS,
    PHONE,
    SHATANG,
    counts,
    crowd,
    errors_of,
    everything_kept,
    number,
    person,
    published,
    register,
    send,
    table,
    take_in,
)


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


async def test_a_file_is_taken_in_and_the_same_file_again_changes_nothing(district: District, command) -> None:
    content = table(crowd(5))
    job = await take_in(district, command, content)
    assert (job["state"], job["total"], job["done"], counts(job)) == ("succeeded", 5, 5, (5, 0, 0, 0))
    before = await district.sql("SELECT * FROM registry.residents ORDER BY id")
    entries = await published(district)
    assert sorted(entry["subject"] for entry in entries) == [row["id"] for row in before]
    faces = [Resident.model_validate_json(entry["data"]) for entry in entries]
    assert {(face.version, face.region, face.state) for face in faces} == {(1, SHATANG, "active")}
    assert await errors_of(command, job) == []

    again = await take_in(district, command, content)
    assert counts(again) == (0, 0, 5, 0)
    assert await district.sql("SELECT * FROM registry.residents ORDER BY id") == before
    assert len(await published(district)) == 5
    assert await district.sql("SELECT * FROM registry.uploads") == []


async def test_what_the_feed_carries_is_the_resource_and_nothing_else(district: District, command) -> None:
    await take_in(district, command, table([person(1, "20200229", pregnant="是", dependent="是")]))
    (entry,) = await published(district)
    face = Resident.model_validate_json(entry["data"])
    assert face.model_dump_json() == entry["data"]
    assert Resident.model_validate(face.model_dump(), strict=True) == face
    assert {tag.kind for tag in face.tags} == {"child", "pregnant", "dependent"}


async def test_only_what_is_different_is_changed(district: District, command) -> None:
    await take_in(district, command, table(crowd(4)))
    rows = crowd(4)
    rows[0]["phone"] = "15400000000"
    rows[1] = {"name": "张三丰", "document_number": number(2), "region": SHATANG}  # says nothing else
    rows[2] |= {"region": HOUKU, "address": ""}
    rows[3]["pregnant"] = "是"
    assert counts(await take_in(district, command, table(rows))) == (0, 3, 1, 0)
    shown = {
        item["document_number"][-4:]: item for item in (await command.get("/registry/v1/residents")).json()["items"]
    }
    first, second, third, fourth = (shown[number(place)[-4:]] for place in range(1, 5))
    assert (first["phone"], first["version"], first["address"]) == ("154****0000", 2, "晋江市新塘街道沙塘社区****")
    assert (second["phone"], second["version"]) == ("154****5678", 1)
    assert (third["region"], third["address"], third["phone"]) == (HOUKU, None, "154****5678")
    assert "pregnant" in {tag["kind"] for tag in fourth["tags"]}
    rows[3]["pregnant"] = "否"
    assert counts(await take_in(district, command, table(rows))) == (0, 1, 3, 0)
    history = await district.sql("SELECT region FROM registry.resident_history ORDER BY until")
    assert [row["region"] for row in history] == [SHATANG] * 3


async def test_a_dry_run_says_what_would_come_of_it(district: District, command) -> None:
    await take_in(district, command, table(crowd(2)))
    rows = [*crowd(3), person(4, name="")]
    rows[0]["phone"] = "15400000000"
    before = await district.sql("SELECT * FROM registry.residents ORDER BY id")
    job = await take_in(district, command, table(rows), dry_run="true")
    assert counts(job) == (1, 1, 1, 1)
    assert [row["行号"] for row in await errors_of(command, job)] == ["5"]
    assert await district.sql("SELECT * FROM registry.residents ORDER BY id") == before
    assert len(await published(district)) == 2
    assert counts(await take_in(district, command, table(rows))) == (1, 1, 1, 1)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "on"])
async def test_a_form_says_yes_as_clients_write_it(district: District, command, text: str) -> None:
    """Generated clients write Python's `True`, browsers `on`, people at a command line `1` or `yes`."""
    await take_in(district, command, table(crowd(1)), dry_run=text)
    assert (await command.get("/registry/v1/residents")).json()["items"] == []


@pytest.mark.parametrize("text", ["perhaps", " true", "null"])
async def test_what_is_neither_true_nor_false_is_no_dry_run(command, text: str) -> None:
    answer = await send(command, table(crowd(1)), dry_run=text)
    [fault] = answer.json()["errors"]
    assert (answer.status_code, fault["pointer"], fault["code"]) == (422, "#/dry_run", "bool_parsing")


BAD_ROWS = [
    ({"document_number": "003582199003070018"}, "id_check_digit", "document_number"),
    ({"document_number": "00358219900307001"}, "id_length", "document_number"),
    ({"region": "350582005999"}, "home_unknown", "region"),
    ({"region": ELSEWHERE}, "home_unknown", "region"),
    ({"region": "350582005"}, "home_unknown", "region"),
    ({"region": ""}, "region_missing", "region"),
    ({"document_number": ""}, "document_number_missing", "document_number"),
    ({"document_number": "003582900307001"}, "id_of_fifteen", "document_number"),
    ({"phone": "15412345678/15412345679"}, "phone_several", "phone"),
    ({"name": "张三（户主）"}, "name_brackets", "name"),
    ({"household": "12月1日"}, "made_a_date", "household"),
    ({"household": "#N/A"}, "error_cell", "household"),
    ({"name": "=cmd|' /C calc'!A0"}, "formula", "name"),
    ({"name": " "}, "name_missing", "name"),
    ({"name": "-"}, "name_missing", "name"),
    ({"name": "长" * 101}, "name_too_long", "name"),
    ({"phone": "12345"}, "phone_form", "phone"),
    ({"document_number": "3.50582E+17"}, "number_lost_digits", "document_number"),
    ({"document_type": "77"}, "document_type_unknown", "document_type"),
    ({"document_type": "20", "document_number": "E12345678", "sex": "男"}, "birth_date_missing", "birth_date"),
    ({"birth_date": "1990-03-08"}, "birth_date_differs", "birth_date"),
    ({"birth_date": "8.3.1990"}, "date_form", "birth_date"),
    ({"sex": "女"}, "sex_differs", "sex"),
    ({"sex": "中"}, "sex_form", "sex"),
    ({"pregnant": "也许"}, "flag_form", "pregnant"),
]


@pytest.mark.parametrize(("values", "code", "column"), BAD_ROWS)
async def test_one_bad_row_keeps_no_other_out(district: District, command, values, code, column) -> None:
    job = await take_in(district, command, table([person(1), person(3) | values, person(5)]))
    assert counts(job) == (2, 0, 0, 1)
    (row,) = await errors_of(command, job)
    assert row["行号"] == "3"
    cell = f"{'ABCDEFGHIJK'[list(COLUMNS).index(column)]}3"
    said = {"value": SHATANG if column == "region" else cell}
    assert f"{column} ({COLUMNS[column][0]}): {messages.MESSAGES[code].render('en', said)}" in row["错误"]
    (zh,) = await errors_of(command, job, "zh-CN")
    assert zh["错误"] == f"{COLUMNS[column][0]}：{messages.MESSAGES[code].render('zh-CN', said)}", "and nothing else"


async def test_the_same_person_twice_in_a_file(district: District, command) -> None:
    job = await take_in(district, command, table([person(1), person(2), person(1, name="别人")]))
    assert counts(job) == (2, 0, 0, 1)
    (row,) = await errors_of(command, job)
    assert (row["姓名"], row["行号"]) == ("别人", "4")
    assert "line 2" in row["错误"]


async def test_an_error_file_is_corrected_and_sent_again(district: District, command) -> None:
    rows = [person(1), person(2, name="=张三"), person(3, phone="+86 154 1234")]
    job = await take_in(district, command, table(rows))
    assert counts(job) == (1, 0, 0, 2)
    content = (await command.get(f"{IMPORTS}/{job['id']}/errors")).content.decode("utf-8-sig")
    corrected = content.replace("'=张三", "张三").replace("'+86 154 1234", "15412341234")
    assert counts(await take_in(district, command, corrected.encode())) == (2, 0, 0, 0)


async def test_errors_of_many_rows_come_whole(district: District, command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_job, "ERRORS_PAGE", 3)
    job = await take_in(district, command, table([person(place, name="") for place in range(1, 9)]))
    assert [row["行号"] for row in await errors_of(command, job)] == [str(line) for line in range(2, 10)]


async def test_errors_are_forgotten(district: District, command) -> None:
    job = await take_in(district, command, table([person(name="")]))
    district.move_clock(days=31)
    await import_job.forget_errors(district.contexts["registry"])
    assert await district.sql("SELECT * FROM registry.import_errors") == []
    district.clock_right()
    assert await errors_of(command, job) == []


async def test_encodings_and_line_breaks_in_cells(district: District, command) -> None:
    rows = [person(1, address="沙塘社区\n1区5号"), person(2)]
    assert counts(await take_in(district, command, table(rows, "gb18030"))) == (2, 0, 0, 0)
    assert counts(await take_in(district, command, table(rows, "utf-8"))) == (0, 0, 2, 0)


def workbook(rows: list[dict[str, Any]]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([headings[0] for headings in COLUMNS.values()])
    for row in rows:
        sheet.append([row.get(column, "") for column in COLUMNS])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


async def test_a_workbook(district: District, command) -> None:
    assert counts(await take_in(district, command, workbook(crowd(3)))) == (3, 0, 0, 0)
    assert counts(await take_in(district, command, table(crowd(3)))) == (0, 0, 3, 0)


def bomb(megabytes: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        with archive.open("xl/worksheets/sheet1.xml", "w") as part:
            for _ in range(megabytes):
                part.write(b" " * (1 << 20))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"\xef\xbb\xbf\n\n", "file_empty"),
        ("姓名,证件号码\n张三,1\n".encode(), "file_column_missing"),
        ("姓名,证件号码,网格编码,星座\n".encode(), "file_column_unknown"),
        ("姓名,证件号码,网格编码,与户主关系\n".encode(), "file_column_unknown"),
        ("姓名,证件号码,网格编码,姓名\n".encode(), "file_column_twice"),
        ("姓名;证件号码;网格编码\n张三;1;2\n".encode(), "file_separator_wrong"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "file_old_format"),
        (b"PK\x03\x04 not an archive", "file_not_a_table"),
        ("姓名".encode("utf-16"), "file_wrong_encoding"),
        (b"\x00\x01\x02", "file_control_character"),
        (bomb(500), "file_archive_bomb"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_at_once(district: District, command, content, code) -> None:
    answer = await send(command, content)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await district.sql("SELECT * FROM registry.jobs") == []


REFUSED_HEADS = [
    (
        "姓名,证件号码,星座,网格编码,{生肖}\n",
        "Unknown columns: C “星座”, E “{生肖}”. Correct the heading or remove the column. "
        "The template is at GET /registry/v1/imports/template",
        "无法识别这些列：C 列“星座”、E 列“{生肖}”",
    ),
    (
        "姓名,证件号马,15412345678\n",
        "Missing in the heading in line 1: document_number (证件号码), region (网格编码); "
        "unknown: B “证件号马”, C. Add the columns to the heading. "
        "The template is at GET /registry/v1/imports/template",
        "第 1 行表头中未找到：证件号码、网格编码；无法识别：B 列“证件号马”、C 列。",
    ),
    (
        "沙塘社区登记表\n张三,003582199003070019\n",
        "None of the first 10 rows is a heading. A heading must have: name (姓名), document_number (证件号码), "
        "region (网格编码). Put the heading into the first row",
        "前 10 行中没有表头，表头应包含：姓名、证件号码、网格编码。请在第一行填写表头",
    ),
    (
        "姓名,证件号码,社区,网格\n",
        "These columns have the same meaning, region (网格编码): C “社区”, D “网格”",
        "这些列重复：C 列“社区”、D 列“网格”，都是网格编码",
    ),
    (
        "name;document_number;region\n",
        "Cells are not separated by commas. Separate the cells by commas, or save the file as XLSX. "
        "The template is at GET /registry/v1/imports/template",
        "请用半角逗号分隔各列",
    ),
]


@pytest.mark.parametrize(
    ("head", "english", "chinese"), REFUSED_HEADS, ids=["unknown", "missing", "none", "twice", "semicolons"]
)
async def test_a_heading_that_is_refused_is_told_how_to_mend_it(command, head: str, english: str, chinese: str) -> None:
    files = {"file": ("people.csv", head.encode())}
    said = {
        language: (await command.post(IMPORTS, files=files, headers={"accept-language": language})).json()["detail"]
        for language in ("en", "zh-CN")
    }
    assert english in said["en"]
    assert chinese in said["zh-CN"]


@pytest.mark.parametrize(("language", "first"), [("zh-CN", "姓名"), ("en", "name")])
async def test_the_template_is_taken_in_as_it_is(district: District, command, language: str, first: str) -> None:
    answer = await command.get(f"{IMPORTS}/template", headers={"accept-language": language})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-language"] == language
    assert answer.text.startswith(f"\ufeff{first},")
    assert counts(await take_in(district, command, answer.content)) == (1, 0, 0, 0)
    (someone,) = (await command.get("/registry/v1/residents")).json()["items"]
    assert (someone["region"], someone["document_number"]) == (SHATANG, "003582********0019")


async def test_the_template_is_for_who_imports(district: District) -> None:
    for role, status in ((Role.COMMUNITY_OFFICER, 200), (Role.GRID_WORKER, 200), (Role.SAMPLER, 403)):
        caller = district.caller("registry", role)
        assert (await caller.get(f"{IMPORTS}/template")).status_code == status
        assert (await caller.get(f"{IMPORTS}/template", headers={"accept": "text/html"})).status_code in (406, 403)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (table(crowd(3)) + b'"never closed', "file_quote_wrong"),
        (bomb(100), "file_archive_bomb"),
    ],
)
async def test_a_file_that_breaks_later_fails_as_a_whole(district: District, command, content, code) -> None:
    job = await take_in(district, command, content)
    assert (job["state"], job["error"]) == ("failed", code)
    assert await district.sql("SELECT * FROM registry.residents") == []
    assert await district.sql("SELECT * FROM registry.uploads") == []


async def test_more_than_an_upload_may_have(command) -> None:
    headers = {"content-length": str(300 << 20), "content-type": "multipart/form-data; boundary=x"}
    answer = await command.post(IMPORTS, content=b"", headers=headers)
    assert answer.json()["code"] == "payload_too_large"


async def test_what_is_no_upload(command) -> None:
    assert (await command.post(IMPORTS, json={})).status_code in (415, 422)
    assert (await command.post(IMPORTS, files={"other": b"x"})).status_code == 422


async def test_every_fault_has_words_in_both_languages() -> None:
    assert messages.FILE_PROBLEMS.keys() == set(FILE_CODES)
    assert messages.MESSAGES.keys() >= {*ROW_CODES, *REASONS}


async def test_who_lives_elsewhere_is_counted_as_anybody_new(district: District, command) -> None:
    neighbour = district.caller("registry", Role.COMMAND, scope="350582004")
    there = await register(district, neighbour, region=ELSEWHERE)
    content = table(crowd(2))
    assert counts(await take_in(district, command, content, dry_run="true")) == (2, 0, 0, 0)
    assert counts(await take_in(district, command, content)) == (2, 0, 0, 0)
    await settle_requests(district.contexts["registry"])
    assert counts(await take_in(district, command, content)) == (0, 0, 2, 0)
    (transfer,) = (await neighbour.get("/registry/v1/transfers")).json()["items"]
    await neighbour.post(f"/registry/v1/transfers/{transfer['id']}/accept")
    await settle_requests(district.contexts["registry"])
    assert (await command.get(f"/registry/v1/residents/{there}")).status_code == 200
    assert counts(await take_in(district, command, content)) == (0, 0, 2, 0)


async def test_who_died_or_never_was_there_is_not_taken_in_and_who_moved_away_returns(
    district: District, command
) -> None:
    for place, reason in ((1, "died"), (2, "moved_away"), (3, "entered_wrongly")):
        id_ = await register(district, command, place=place)
        await command.post(f"/registry/v1/residents/{id_}/close", json={"reason": reason})
    job = await take_in(district, command, table(crowd(3)))
    assert counts(job) == (0, 0, 0, 3)
    died, moved, wrong = [error["错误"] for error in await errors_of(command, job)]
    assert messages.MESSAGES["resident_closed"].en in died
    assert messages.MESSAGES["resident_closed"].en in wrong
    assert "was changed by hand" in moved, "who moved away returns only by a file that is newer"
    assert counts(await take_in(district, command, table(crowd(3)), overwrite_newer="true")) == (0, 1, 0, 2)


async def test_imports_are_seen_within_their_scope_by_those_who_import(district: District, command) -> None:
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope=SHATANG)
    job = await take_in(district, officer, table([person(1), person(2, region=HOUKU)]))
    assert counts(job) == (1, 0, 0, 1)
    outsider = district.caller("registry", Role.COMMAND, scope="350582004")
    for path in ("", "/errors"):
        assert (await outsider.get(f"{IMPORTS}/{job['id']}{path}")).status_code == 404
        assert (await command.get(f"{IMPORTS}/{job['id']}{path}")).status_code == 200
    doctor = district.caller("registry", Role.VILLAGE_DOCTOR)
    assert (await send(doctor, table([person(1)]))).status_code == 403


async def test_the_same_key_with_another_file_is_another_request(command) -> None:
    key = {"idempotency-key": "this-import-once"}
    files = [{"file": ("a.csv", table(crowd(count)))} for count in (1, 1, 2)]
    first, again, other = [await command.post(IMPORTS, files=file, headers=key) for file in files]
    assert first.json() == again.json()
    assert other.json()["code"] == "key_reused"


async def test_each_chunk_is_in_the_audit(district: District, command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK", 2)
    await take_in(district, command, table(crowd(3)))
    entries = await district.sql("SELECT subjects FROM registry.audit WHERE operation LIKE 'job %' ORDER BY seq")
    assert [len(entry["subjects"]) for entry in entries] == [2, 1]


async def test_people_read_whose_import_entered_them_and_what_it_did(district: District) -> None:
    office = "沙塘社区居委会"
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, subject="staff:lin", party=office, scope=SHATANG)
    job = await take_in(district, officer, table(crowd(1)))
    (row,) = await district.sql("SELECT id FROM registry.residents")
    me = district.caller("gateway", Role.RESIDENT, residents=(row["id"],))
    for language, what, why, role in (
        ("zh-CN", "通过名册文件登记或更新了您的信息", "居民登记和底数核查", "社区工作人员"),
        (
            "en",
            "registered you or updated your record from a file",
            "keeping the register of residents",
            "community officer",
        ),
    ):
        answer = await me.get("/gateway/v1/who-looked-at-me", headers={"accept-language": language})
        (item,) = answer.json()["items"]
        assert (item["what"], item["why"], item["role_name"], item["organisation"]) == (what, why, role, office)
        assert (item["role"], item["region"]) == ("community_officer", SHATANG)
        assert "staff:lin" not in answer.text
    (entry,) = await district.sql("SELECT actor, operation, target, scope FROM registry.audit WHERE subjects <> '{}'")
    assert tuple(entry) == ("staff:lin", "job import", job["id"], SHATANG)


async def test_nothing_of_a_file_is_kept_in_clear(district: District, command) -> None:
    rows = [person(1), person(2, name="=张三丰"), person(3, phone=PHONE + "1")]
    answer = await send(command, table(rows))
    waiting = await everything_kept(district)
    await district.settle()
    kept = waiting + await everything_kept(district)
    assert answer.json()["id"] in kept
    for clear in ("张三丰", number(1), number(2), PHONE, ADDRESS):
        assert clear not in kept
        assert clear.encode().hex() not in kept
