"""Files of regions: what is shipped, what an operator imports, and what is refused with its line."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy import regions
from deploy.cli import app
from deploy.trouble import Trouble
from services.registry.regions.files import GBT2260, SAMPLE, FileFault, read, shipped
from shared.core import clock
from shared.core.actors import Role
from shared.core.days import day_of
from shared.core.regions import parent_of
from tests.harness import District
from tests.registry.people import register

DISTRICT = "440304"
"""A county of another province, of which nothing but its code is shipped."""
HEADING = "code,name,level,valid_from,valid_until\n"
LIST = "code,name\n440304001,园岭街道\n440304001001,华林社区\n440304001002,南天社区\n440304002,南园街道\n"


@pytest.fixture
async def place(district: District, tmp_path: Path) -> AsyncIterator[Path]:
    """A directory for files; the regions of the district go afterwards."""
    yield tmp_path
    await district.empty()
    await district.sql("DELETE FROM registry.regions WHERE starts_with(region, $1) AND region <> $1", DISTRICT)


def written(place: Path, content: str | bytes, name: str = "regions.csv") -> Path:
    path = place / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


async def bring(district: District, path: Path):
    return await asyncio.to_thread(regions.import_file, district.database.owner_url, path)


async def update(district: District, path: Path, below: str = DISTRICT):
    return await asyncio.to_thread(regions.update_from_file, district.database.owner_url, path, below)


def test_the_country_is_shipped_to_the_county() -> None:
    lines = shipped(GBT2260).regions
    today = Counter(line.level for line in lines if line.valid_until is None)
    # 333 prefectures, and nine groups of counties that belong to none ("directly under the province").
    assert today == {"province": 34, "city": 342, "county": 2854}
    codes = {line.code for line in lines}
    assert all(line.parent is None or line.parent in codes for line in lines)
    assert all(
        line.parent in codes | {own.code for own in shipped(SAMPLE).regions}
        for line in shipped(SAMPLE).regions
        if line.parent
    )


@pytest.mark.parametrize(
    ("code", "name", "is_over"),
    [("350582", "晋江市", False), ("440304", "福田区", False), ("71", "台湾省", False), ("352203", "福鼎市", True)],
)
async def test_every_code_of_the_country_can_be_read_by_staff_of_any_region(
    district: District, code: str, name: str, is_over: bool
) -> None:
    """Where a traveller comes from, or an old ID number was issued, lies outside of every scope."""
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope="350582005001")
    found = (await officer.get(f"/registry/v1/regions/{code}")).json()
    assert (found["name"], found["valid_until"] is not None) == (name, is_over)


async def test_a_list_holds_what_lies_in_the_scope_and_exists_today(district: District) -> None:
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope="350582005001")
    assert (await officer.get("/registry/v1/regions?parent=3505")).json()["items"] == []
    everywhere = district.caller("registry", Role.COMMAND, scope="")
    items = (await everywhere.get("/registry/v1/regions?parent=3505&limit=200")).json()["items"]
    assert {"350582", "350524"} <= {item["region"] for item in items}
    assert all(item["valid_until"] is None for item in items)


async def test_a_district_is_imported_once(district: District, place: Path) -> None:
    path = written(place, LIST)
    outcome = await bring(district, path)
    assert (outcome.added, outcome.changed, outcome.unchanged) == (4, 0, 0)
    told = await district.sql("SELECT region, change, data FROM registry.feed WHERE type = 'registry.region.v1'")
    assert sorted((row["region"], row["change"]) for row in told) == [
        (code, "added") for code in ("440304001", "440304001001", "440304001002", "440304002")
    ]
    again = await bring(district, path)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 4)
    assert len(await district.sql("SELECT 1 FROM registry.feed WHERE type = 'registry.region.v1'")) == 4
    command = district.caller("registry", Role.COMMAND, scope=DISTRICT)
    items = (await command.get(f"/registry/v1/regions?parent={DISTRICT}")).json()["items"]
    assert [(item["region"], item["name"], item["version"]) for item in items] == [
        ("440304001", "园岭街道", 1),
        ("440304002", "南园街道", 1),
    ]
    (entry,) = await district.sql("SELECT actor, reason FROM registry.audit WHERE operation LIKE '%import' LIMIT 1")
    assert (entry["actor"], '"added": 4' in entry["reason"]) == ("operator", True)


async def test_a_name_that_changed_is_brought_to_readers(district: District, place: Path) -> None:
    await bring(district, written(place, LIST))
    renamed = await bring(district, written(place, LIST.replace("南天社区", "南天 社区").encode("gb18030")))
    assert (renamed.added, renamed.changed, renamed.unchanged) == (0, 1, 3)
    (last,) = await district.sql(
        "SELECT version, change FROM registry.feed WHERE region = '440304001002' AND version > 1"
    )
    assert tuple(last) == (2, "changed")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "line 1: the column code is missing"),
        ("code,name,color\n", "line 1: the column 'color' is unknown"),
        ("code,name\n", "the file has no regions"),
        ("code,name\n440304009001,甲社区\n", "line 2: 440304009001 lies below 440304009, which is nowhere"),
        ("code,name\n440304001,甲\n\n440304001,乙\n", "line 4: 440304001 is already in line 2"),
        ("code,name\n4403040,甲\n", "line 2: the code '4403040' must have 2, 4, 6, 9, 12, 14, 16 digits"),
        ("code,name\n4.40304E+11,甲\n", "line 2: a spreadsheet changed the code to a number"),
        ("code,name,level\n440304001,甲,community\n", "line 2: 440304001 has the digits of a township"),
        ("code,name\n440304001,\n", "line 2: the name must have 1 to 100 characters"),
        (f"{HEADING}440304001,甲,,2021-13-01,\n", "line 2: a date must be a year or a day, such as 2021"),
        (f"{HEADING}440304001,甲,,2021,2020\n", "line 2: 440304001 ends before it starts"),
        (b"\xff\xfe\x00c", "the file is neither UTF-8 nor GB18030"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_imported(
    district: District, place: Path, content: str | bytes, sentence: str
) -> None:
    path = written(place, content)
    with pytest.raises(Trouble) as refused:
        await bring(district, path)
    assert str(refused.value).startswith(f"{path} was not imported: {sentence}")
    assert await district.sql("SELECT 1 FROM registry.regions WHERE region > '440304' AND region < '440304~'") == []


def test_all_that_is_wrong_is_named_at_once_up_to_twenty() -> None:
    with pytest.raises(FileFault) as refused:
        read("\n".join(["code,name", *(f"{number},甲" for number in range(1000000, 1000030))]).encode())
    assert (len(refused.value.faults), refused.value.count) == (20, 30)


async def test_an_update_withdraws_what_is_gone_and_keeps_where_people_live(district: District, place: Path) -> None:
    await bring(district, written(place, f"{LIST}440304002001,空社区\n44030400200101,片\n"))
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope=DISTRICT)
    await register(district, officer, region="440304001002")
    await district.settle()
    outcome = await update(district, written(place, "code,name\n440304001,园岭街道\n440304001001,华林社区\n"))
    assert (outcome.retired, outcome.kept) == (("440304002", "440304002001"), ("440304001002",))
    yesterday = day_of(clock.now()) - timedelta(days=1)
    (gone,) = await district.sql("SELECT valid_until, version FROM registry.regions WHERE region = '440304002'")
    assert tuple(gone) == (yesterday, 2)
    command = district.caller("registry", Role.COMMAND, scope=DISTRICT)
    new = {"code": "44030400200102", "name": "第二片"}
    assert (await command.post("/registry/v1/regions", json=new)).json()["code"] == "region_withdrawn"
    revived = await update(district, written(place, f"{LIST}440304002001,空社区\n"))
    assert revived.changed == 2
    assert (await command.post("/registry/v1/regions", json=new)).status_code == 201


async def test_the_commands_say_what_they_did(district: District, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = SimpleNamespace(owner_url=district.database.owner_url)
    monkeypatch.setattr("deploy.commands.regions.installed", lambda _data: here)

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, ["regions", *words])

    path = str(written(place, LIST))
    assert (await run("import", path)).output == "added 4, changed 0, unchanged 0\n"
    officer = district.caller("registry", Role.COMMUNITY_OFFICER, scope=DISTRICT)
    await register(district, officer, region="440304001002")
    shorter = str(written(place, "code,name\n440304001,园岭街道\n440304001001,华林社区\n"))
    assert (await run("update", shorter, "--below", DISTRICT)).output == (
        "added 0, changed 0, unchanged 2\nwithdrawn 1: 440304002\n"
        "kept, although not in the file, because people are on record there: 1: 440304001002. "
        "Transfer these people, then update again.\n"
    )
    missing = await run("import", str(place / "nothing.csv"))
    assert isinstance(missing.exception, Trouble)
    assert str(missing.exception).endswith("nothing.csv cannot be read: No such file or directory.")


async def test_an_update_of_another_district_is_refused(district: District, place: Path) -> None:
    with pytest.raises(Trouble, match="line 2: 440304001 does not lie below 440305"):
        await update(district, written(place, LIST), "440305")


async def test_dates_of_a_file_are_kept(district: District, place: Path) -> None:
    await bring(district, written(place, f"{HEADING}440304001,园岭街道,,1990,\n440304009,旧街道,,,2019-06-30\n"))
    rows = await district.sql(
        "SELECT valid_from, valid_until FROM registry.regions WHERE region ~ '^440304[0-9]{3}$' ORDER BY region"
    )
    assert [tuple(row) for row in rows] == [(date(1990, 1, 1), None), (None, date(2019, 6, 30))]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("999999", "there is no region 999999"),
        ("350599005", "there is no region 350599"),
        ("352203", "region 352203 (福鼎市) was withdrawn in 1998"),
        ("350582999", None),  # below a county, the database knows
        ("440304", None),
        ("", None),
    ],
)
def test_a_region_that_cannot_be_served(code: str, sentence: str | None) -> None:
    found = regions.fault_of(code)
    assert found is None if sentence is None else found is not None and found.startswith(sentence)


async def test_a_start_imports_the_chosen_file_and_sees_that_the_chosen_region_exists(
    district: District, place: Path
) -> None:
    url, path = district.database.owner_url, written(place, LIST)
    await asyncio.to_thread(regions.bring, url, regions.Chosen("440304001", path))
    with pytest.raises(Trouble, match="there is no region 440304007 in this installation: import the list"):
        await asyncio.to_thread(regions.bring, url, regions.Chosen("440304007", path))
    assert not regions.Chosen("440304").wants_sample
    assert regions.Chosen("350582005").wants_sample
    assert regions.Chosen().wants_sample
    assert parent_of("440304007") == DISTRICT
