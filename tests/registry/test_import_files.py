"""R2: the file of an import is kept once, however slowly, and not at all if it is refused."""

import pytest

from shared.core.actors import Role
from shared.database.engine import engine_of
from shared.jobs import queue
from tests.harness import District
from tests.registry.people import person, send, table

IMPORTS = "/registry/v1/imports"


@pytest.fixture
def command(district: District):
    return district.caller("registry", Role.COMMAND)


def crowd(count: int) -> list[dict[str, str]]:
    return [person(place) for place in range(1, count + 1)]


async def test_a_file_that_takes_longer_than_a_transaction_may(
    district: District, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = district.contexts["registry"]
    hasty = engine_of(context.settings.model_copy(update={"transaction_timeout_seconds": 1}))
    monkeypatch.setattr(context, "engine", hasty)
    monkeypatch.setattr(queue, "PART_BYTES", 200)
    await district.sql("CREATE FUNCTION registry.slow() RETURNS trigger LANGUAGE plpgsql AS "
                       "$$ BEGIN PERFORM pg_sleep(0.3); RETURN new; END $$")  # fmt: skip
    await district.sql("CREATE TRIGGER slow BEFORE INSERT ON registry.uploads "
                       "FOR EACH ROW EXECUTE FUNCTION registry.slow()")  # fmt: skip
    try:
        answer = await send(command, table(crowd(8)))
    finally:
        await district.sql("DROP FUNCTION registry.slow CASCADE")
        await hasty.dispose()
    assert answer.status_code == 202, answer.text
    assert len(await district.sql("SELECT 1 FROM registry.uploads")) > 4
    monkeypatch.undo()
    await district.settle()
    assert (await command.get(answer.headers["location"])).json()["result"]["created"] == 8


async def test_a_file_sent_again_under_its_key_is_kept_once(district: District, command) -> None:
    files = {"file": ("people.csv", table(crowd(2)))}
    headers = {"idempotency-key": "one-file-of-two"}
    answers = [await command.post(IMPORTS, files=files, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    kept = await district.sql("SELECT job_id FROM registry.uploads")
    assert [str(row["job_id"]) for row in kept] == [answers[0].json()["id"]]


@pytest.mark.parametrize("form", [{"dry_run": "perhaps"}, {}], ids=["invalid-form", "key-of-another-act"])
async def test_the_file_of_a_refused_import_is_not_kept(district: District, command, form: dict[str, str]) -> None:
    headers = {"idempotency-key": "one-file-of-two"}
    if not form:
        await command.post(IMPORTS, files={"file": ("people.csv", table(crowd(2)))}, headers=headers)
    before = await district.sql("SELECT job_id FROM registry.uploads")
    answer = await command.post(IMPORTS, files={"file": ("a.csv", table(crowd(3)))}, data=form, headers=headers)
    assert answer.status_code == 422, answer.text
    assert await district.sql("SELECT job_id FROM registry.uploads") == before
