"""The console script: quick, clear, and with exit codes one can rely on."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from deploy import own_servers, status, up, variables
from deploy.cli import main_of
from deploy.commands import print_table
from deploy.commands.clients import A_ROLE
from deploy.logs import Journal, LogFile
from deploy.trouble import Trouble
from services.gateway.clients.schemas import ROLES
from shared.core.settings import Settings
from tests.deploy.starting import ROOT, Started, until

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., Started]


def test_status_of_what_does_not_run(run: Run, place: Path) -> None:
    done = run("status", "--data", str(place / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Nothing is running on {place / 'data'}. Start it with `fangxian up`.\n"
    assert not (place / "data").exists()


def test_status_names_every_process(run: Run, start: Start) -> None:
    one = start("worker", "failing")
    one.wait_until_running()
    done = run("status", "--data", str(one.data))
    assert done.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[2:]}
    assert rows.keys() == {"postgres", "valkey", "gateway", "worker", "failing"}
    assert rows["gateway"][:2] == [str(one.pid_of("gateway")), "ready"]
    assert rows["worker"][:2] == [str(one.pid_of("worker")), "running"]


def test_memory_that_processes_share_is_counted_once() -> None:
    """As PostgreSQL's buffers, or what a fork has imported."""
    program = (
        "import os, time\n"
        "shared = b'x' * 64 * 1024**2\n"
        "if any(os.fork() == 0 for _ in range(4)): time.sleep(600)\n"
        "print('forked', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, process_group=0) as parent:
        try:
            assert parent.stdout is not None
            parent.stdout.readline()
            state = {"processes": [{"name": "it", "pid": parent.pid, "since": 0.0, "restarts": 0}]}
            ((*_, memory),) = status.rows(state)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
    megabytes, unit = memory.split()
    assert unit == "MB"
    assert 64 <= int(megabytes) < 2 * 64


@pytest.mark.parametrize("debug", ["", "1"], ids=["told", "told with its place"])
def test_what_nobody_foresaw_is_a_sentence(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FANGXIAN_DEBUG", debug)
    with pytest.raises(SystemExit) as ended:
        main_of(fail)
    *before, sentence = capsys.readouterr().err.splitlines()
    assert (ended.value.code, sentence) == (1, "/a/file: Input/output error.")
    assert any("in fail" in line for line in before) is bool(debug)


def test_what_nobody_foresaw_has_its_place_in_the_log_of_the_supervisor(tmp_path: Path) -> None:
    journal = Journal(LogFile(tmp_path / "supervisor.log"))
    with pytest.raises(OSError, match="Input/output"), up.unforeseen_noted(journal):
        fail()
    (line,) = (tmp_path / "supervisor.log").read_text().splitlines()
    said = json.loads(line)
    assert (said["level"], said["event"]) == ("error", "/a/file: Input/output error.")
    assert "in fail" in said["exception"]


def fail() -> None:
    """As a disk may."""
    raise OSError(errno.EIO, "Input/output error", "/a/file")


def test_doctor_is_content_with_a_sound_installation(run: Run, start: Start) -> None:
    one = start()
    one.wait_until_running()
    done = run("doctor", "--data", str(one.data), "--port", str(one.port))
    wrong = [line for line in done.stdout.splitlines() if "WRONG" in line]
    # The stand-ins migrate nothing, and doctor says so; all else is well.
    assert all("migrations" in line for line in wrong), done.stdout


def test_doctor_says_that_it_is_starting(run: Run, start: Start, place: Path) -> None:
    obstacle = place / "obstacle"
    obstacle.touch()
    one = start(HELD_UP_BY=str(obstacle))
    until(lambda: status.read(one.data / "status.json"))
    done = run("doctor", "--data", str(one.data))
    assert (done.returncode, "WRONG" in done.stdout) == (0, False), done.stdout
    assert "is still starting" in done.stdout
    assert "migrations" not in done.stdout
    obstacle.unlink()
    one.wait_until_running()
    assert "is still starting" not in run("doctor", "--data", str(one.data)).stdout


def test_doctor_names_what_is_wrong_and_how_to_mend_it(run: Run, start: Start) -> None:
    one = start("failing", FANGXIAN_DATABASE_POOL="40")
    one.wait_until_running()
    (one.data / "keys" / "testing" / "master.key").chmod(0o644)
    (one.data / "keys" / "registry" / "index.key").unlink()
    for _ in range(30):
        done = run("doctor", "--data", str(one.data))  # from another environment than `up` was started in
        if "fangxian logs failing" in done.stdout:  # it may have been met as it was started once more
            break
    assert done.returncode == 1
    for words in (
        "master.key is open to others",
        f"chmod -R go-rwx {one.data / 'keys'}",
        "registry/index.key missing",
        "364 needed, 100 allowed",
        "fangxian logs failing",
    ):
        assert words in done.stdout, done.stdout


def test_doctor_sees_a_taken_port_and_an_unreachable_server(run: Run, start: Start, place: Path) -> None:
    one = start()
    one.wait_until_running()
    done = run(
        "doctor",
        "--data",
        str(place / "other"),
        "--port",
        str(one.port),
        DATABASE_URL="postgresql://me:secret@127.0.0.1:1/fangxian",
        REDIS_URL="redis://:secret@127.0.0.1:1/0",
    )
    assert done.returncode == 1
    for words in (f"{one.port + 3} in use", "127.0.0.1:1 cannot be reached", "Redis at 127.0.0.1:1 (REDIS_URL)"):
        assert words in done.stdout, done.stdout
    assert "secret" not in done.stdout
    assert not (place / "other").exists()


def test_doctor_sees_what_does_not_belong_into_production(run: Run, place: Path) -> None:
    done = run(
        "doctor",
        "--data",
        str(place / "data"),
        FANGXIAN_PRODUCTION="true",
        FANGXIAN_DEVELOPMENT_ISSUER="false",
        FANGXIAN_DEMONSTRATION_IDS="true",
    )
    assert done.returncode == 1
    assert "FANGXIAN_DEMONSTRATION_IDS=false" in done.stdout


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("", "FANGXIAN_PRODUCTION needs FANGXIAN_PUBLIC_URL"),
        ("http://fangxian.example", "FANGXIAN_PRODUCTION needs FANGXIAN_PUBLIC_URL"),
        ("https://", "FANGXIAN_PUBLIC_URL: should begin with https:// or http:// and name a host"),
        ("https://fangxian.example", None),
    ],
    ids=["none", "http", "no-host", "https"],
)
def test_doctor_sees_where_people_reach_it_in_production(run: Run, place: Path, url: str, refusal: str | None) -> None:
    done = run(
        "doctor",
        "--data",
        str(place / "data"),
        FANGXIAN_PRODUCTION="true",
        FANGXIAN_DEVELOPMENT_ISSUER="false",
        FANGXIAN_PUBLIC_URL=url,
    )
    if refusal is None:
        assert "FANGXIAN_PUBLIC_URL" not in done.stdout
    else:
        assert refusal in done.stdout


NOT_A_SETTING = {"FANGXIAN_PRODUKTION": "true"}
MISSPELT = "FANGXIAN_PRODUKTION is not a setting and has no effect; did you mean FANGXIAN_PRODUCTION?"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PROXY_NETWORKS", "10.0.0.0/8", """should be JSON, as in '["10.0.0.0/8"]'."""),
        ("PROXY_NETWORKS", '["10.0.0.0/99"]', "should be networks, an address and the number of its leading bits, as"),
        ("WEBHOOK_NETWORKS", "{", """should be JSON, as in '["10.20.0.0/16"]'."""),
        ("BROWSER_ORIGINS", "https://a.example", """should be JSON, as in '["https://console.example.cn"]'."""),
        ("ISSUERS", "nope", """should be JSON, as in '[{"issuer": """),
        (
            "ISSUERS",
            '[{"issuer": "https://a.example"}]',
            "audience: is missing; roles: is missing; region: is missing, as in '",
        ),
        ("DATABASE_POOL", "many", "should be a whole number, as in '6'."),
    ],
    ids=["no JSON", "no network", "half JSON", "a bare text", "a word", "half an issuer", "no number"],
)
def test_a_setting_that_is_wrong_is_named_with_an_example(
    run: Run, start: Start, place: Path, name: str, value: str, sentence: str
) -> None:
    setting = {f"FANGXIAN_{name}": value}
    code, said = start(**setting).ended()
    assert (code, said.count("\n")) == (1, 1), said
    assert said.startswith(f"The settings are wrong: FANGXIAN_{name}: {sentence}")
    done = run("doctor", "--data", str(place / "other"), **setting)
    assert done.returncode == 1
    assert f"WRONG  settings        The settings are wrong: FANGXIAN_{name}: " in done.stdout


def test_every_setting_has_an_example_and_all_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = {name: variables.example_of(field) for name, field in Settings.model_fields.items()}
    for name, example in examples.items():
        if example:
            monkeypatch.setenv(f"FANGXIAN_{name.upper()}", example)
    settings = variables.settings(service="gateway")
    assert all(len(getattr(settings, name)) == 1 for name in ("issuers", "webhook_networks", "browser_origins"))
    assert [name for name, example in examples.items() if example in {"", "None", "()"}] == []


def test_a_misspelt_setting_is_named(run: Run, start: Start, place: Path) -> None:
    one = start(**NOT_A_SETTING)
    one.wait_until_running()
    one.process.terminate()
    code, said = one.ended()
    assert (code, said.splitlines()[0]) == (0, MISSPELT)
    assert MISSPELT in one.log_of("supervisor")
    done = run("doctor", "--data", str(place / "other"), **NOT_A_SETTING)
    assert done.returncode == 1
    assert MISSPELT in done.stdout


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("FANGXIAN_PRODUCTION", True),
        ("fangxian_production", True),
        ("FANGXIAN_TESTING_RETEST_HOURS", True),
        ("FANGXIAN_VERSION", True),
        ("PRODUCTION", True),
        ("FANGXIAN_TESTING_RETEST", False),
        ("FANGXIAN_SOMETHING_ELSE", False),
    ],
)
def test_which_variables_are_settings(name: str, known: bool) -> None:
    assert (variables.unknown({name: "1"}) == []) == known


def test_logs_of_what_never_ran(run: Run, place: Path) -> None:
    done = run("logs", "--data", str(place / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Nothing has run on {place / 'data'} yet. Start it with `fangxian up`.\n"


def test_the_log_of_the_supervisor_tells_of_restarts(run: Run, start: Start) -> None:
    one = start("failing")
    one.wait_until_running()
    until(lambda: int(str(one.state_of("failing")["restarts"])) >= 1)
    said = run("logs", "supervisor", "--data", str(one.data)).stdout
    assert f"Fangxian {version('fangxian')} starts." in said
    assert "failing ended with code 1. It restarts in 0.2 s (restart 1)." in said


def test_its_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"fangxian {version('fangxian')}\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("up", "--data", "{place}/file"), "{place}/file is not a directory. Choose another --data.\n"),
        (("up", "--data", "{place}/file/in/it"), "{place}/file/in: Not a directory.\n"),
        (("up", "--data", "/proc/foo"), "/proc cannot store files. Choose another --data.\n"),
        (("status", "--data", "{place}/file"), "Nothing is running on {place}/file. Start it with `fangxian up`.\n"),
        (("keys", "make", "{place}/file/keys"), "{place}/file/keys.half: Not a directory.\n"),
    ],
    ids=["a file", "in a file", "no disk", "status of a file", "keys in a file"],
)
def test_what_the_operating_system_refuses_is_one_sentence(
    run: Run, place: Path, words: tuple[str, ...], sentence: str
) -> None:
    (place / "file").touch()
    done = run(*(word.format(place=place) for word in words))
    assert (done.returncode, done.stderr) == (1, sentence.format(place=place))


def test_logs_of_one_process_and_of_all(run: Run, start: Start) -> None:
    one = start()
    one.wait_until_running()
    one.until_printed("worker", "working")
    assert run("logs", "worker", "--data", str(one.data), "-n", "1").stdout == "worker | working\n"
    names = {line.split(" | ")[0] for line in run("logs", "--data", str(one.data)).stdout.splitlines()}
    assert {"postgres", "valkey", "gateway", "worker"} <= names
    done = run("logs", "nobody", "--data", str(one.data))
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no log of nobody" in done.stderr


def test_a_port_out_of_range_is_refused(run: Run, place: Path) -> None:
    done = run("up", "--data", str(place / "data"), "--port", "65534")
    assert done.returncode == 1
    assert done.stderr == "--port 65534 and the next three ports must be between 1024 and 65535.\n"


def test_a_table_in_a_narrow_terminal_wraps_text_and_leaves_ids_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    key = ("data observation", "observation.e9d3f15b", "destroyed", "2026-11-24 13:32", "2026-11-25 01:50", "2eec94af")
    print_table(("key", "id", "state", "from (UTC)", "until (UTC)", "wrapped by"), [key])
    said = capsys.readouterr().out
    assert all(word in said.split() for word in key if " " not in word), said
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 60


HELP = [("--help",), *((name, "--help") for name in ("up", "logs", "doctor", "regions", "clients", "feed", "audit"))]


@pytest.mark.parametrize("words", [*HELP, ("clients", "add", "--help"), ("audit", "verify", "--help")])
def test_help_has_readable_names_and_choices(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words).stdout
    assert not re.search(r"<(bool|list|%)|\[\[", said), said
    assert "Example" in said or (words[-1:] == ("--help",) and len(words) < 3), said


def test_help_of_a_client_names_every_role() -> None:
    assert sorted(ROLES) == sorted(name for name in re.split(r"[^a-z0-9_]+", A_ROLE) if name in ROLES)


@pytest.mark.parametrize("words", [("--help",), ("status", "--data", "/nonexistent"), ("logs", "--help")])
def test_quick_commands_do_not_import_the_heavy_stack(words: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from deploy.cli import app\n"
        "try: app(standalone_mode=False)\n"
        "except BaseException: pass\n"
        "print(sorted({'fastapi', 'sqlalchemy', 'uvicorn', 'arq', 'alembic'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://owner:old@db:5432/fangxian", "postgresql://r:p%40ss@db:5432/fangxian"),
        ("postgres://owner:o%40ld@db/fangxian", "postgresql://r:p%40ss@db/fangxian"),
        ("postgresql+asyncpg://db/fangxian?host=/run/pg", "postgresql://r:p%40ss@db/fangxian?host=/run/pg"),
        ("postgresql://owner:old@/fangxian?host=/run/pg", "postgresql://r:p%40ss@/fangxian?host=/run/pg"),
    ],
)
def test_a_database_address_as_another_role(url: str, expected: str) -> None:
    assert own_servers.as_role(url, "r", "p@ss") == expected


def test_a_database_address_of_another_kind_is_refused() -> None:
    with pytest.raises(Trouble, match="must begin with postgresql://"):
        own_servers.as_role("mysql://db/fangxian")


def test_a_redis_address_of_another_kind_is_refused() -> None:
    with pytest.raises(Trouble, match="REDIS_URL must begin with redis://, rediss:// or unix://"):
        own_servers.check_redis("cache:6379")
