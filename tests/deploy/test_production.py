"""A production installation that is healthy: doctor agrees, from any shell, and says what residents miss."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy import status
from tests import prepared
from tests.deploy.starting import PATIENCE, ROOT, a_port, clean_environment

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PRODUCTION = {
    "FANGXIAN_PRODUCTION": "true",
    "FANGXIAN_DEVELOPMENT_ISSUER": "false",
    "FANGXIAN_PUBLIC_URL": "https://fangxian.example.cn",
}
PHONES = {
    "FANGXIAN_PHONE_GATEWAY_URL": "https://sms.example.cn/fangxian",
    "FANGXIAN_PHONE_GATEWAY_SECRET": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


@contextmanager
def running(data: Path, settings: dict[str, str]) -> Iterator[str]:
    """All eight processes, started as an operator does; what `up` said until it ran."""
    command = [sys.executable, "-m", "deploy.cli", "up", "--data", str(data), "--port", str(a_port())]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | settings
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said: list[str] = []
        try:
            for line in process.stdout:
                said.append(line)
                if line.startswith("Running"):
                    break
            yield "".join(said)
        finally:
            process.terminate()
            process.stdout.read()
            process.wait(PATIENCE)


def verdicts(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """What doctor says of each thing."""
    rows = [line.split() for line in done.stdout.splitlines()]
    return {" ".join(row[1:]): row[0] for row in rows if row and row[0] in {"ok", "WRONG", "WARN"}}


def test_doctor_agrees_with_a_healthy_production_from_another_shell(run: Run, place: Path) -> None:
    data = prepared.copied_to(place / "data")
    settings = PRODUCTION | PHONES | {"FANGXIAN_REGION": "350582005", "FANGXIAN_HEADQUARTERS": "新塘街道指挥部"}
    with running(data, settings) as said:
        assert said.startswith(f"Starting on {data} …\n")
        assert "Development mode" not in said
        assert "Residents cannot sign in" not in said
        assert "Open this link within 24 hours to create the first administrator" in said
        done = run("doctor", "--data", str(data))
        assert done.returncode == 0, done.stdout
        assert set(verdicts(done).values()) == {"ok"}
        assert "for production" in done.stdout
        assert f"data {data}, production, version" in run("status", "--data", str(data)).stdout


def test_doctor_says_that_residents_cannot_sign_in_without_a_gateway_for_messages(run: Run, place: Path) -> None:
    data = prepared.copied_to(place / "data")
    with running(data, PRODUCTION) as said:
        assert "Residents cannot sign in: FANGXIAN_PHONE_GATEWAY_URL is not set" in said
        done = run("doctor", "--data", str(data))
    assert done.returncode == 1
    assert "residents cannot sign in: FANGXIAN_PHONE_GATEWAY_URL is not set" in done.stdout
    assert "as in 'https://sms.example.cn/fangxian'" in done.stdout
    assert [what.split()[0] for what, verdict in verdicts(done).items() if verdict == "WRONG"] == ["residents"]
    assert [what.split()[0] for what, verdict in verdicts(done).items() if verdict == "WARN"] == ["notices"]


@pytest.mark.parametrize("named", [False, True], ids=["not named", "named"])
def test_doctor_says_which_setting_a_reverse_proxy_needs(run: Run, place: Path, named: bool) -> None:
    data = prepared.copied_to(place / "data")
    networks = {"FANGXIAN_PROXY_NETWORKS": '["127.0.0.1/32"]'} if named else {}
    with running(data, PRODUCTION | PHONES | {"FANGXIAN_HEADQUARTERS": "新塘街道指挥部"} | networks):
        gateway = (status.read(data / "status.json") or {})["urls"]["gateway"]
        answer = httpx.get(f"{gateway}/status", headers={"x-forwarded-for": "203.0.113.9"}, trust_env=False)
        assert answer.status_code == 200
        done = run("doctor", "--data", str(data))
    verdict = next(verdict for what, verdict in verdicts(done).items() if what.startswith("reverse proxy"))
    assert (verdict, done.returncode) == (("ok", 0) if named else ("WRONG", 1)), done.stdout
    assert named or "as in '[\"127.0.0.1/32\"]' for one on this machine" in done.stdout


def test_development_mode_is_said_loudly(place: Path) -> None:
    with running(prepared.copied_to(place / "data"), {}) as said:
        assert "Development mode: anybody who can reach this port can get a token for any role" in said


def test_a_region_that_exists_nowhere_stops_the_start(run: Run, place: Path) -> None:
    data = prepared.copied_to(place / "data")
    done = run("up", "--data", str(data), "--port", str(a_port()), FANGXIAN_REGION="350582999")
    assert done.returncode == 1
    assert done.stderr.startswith("FANGXIAN_REGION: there is no region 350582999 in this installation: import the list")
    done = run("up", "--data", str(place / "other"), FANGXIAN_REGION="990000")
    assert (done.returncode, (place / "other").exists()) == (1, False)
    assert "FANGXIAN_REGION: there is no region 990000" in done.stderr


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ({"FANGXIAN_PRODUCTION": "perhaps"}, ["PRODUCTION: should be true or false, as in 'false'"]),
        ({"FANGXIAN_DATABASE_POOL": "100"}, ["DATABASE_POOL: should be at most 50, as in '6'"]),
        (
            {"FANGXIAN_REGION": "abc"},
            ["REGION: should be the code of a region, of 2, 4, 6, 9, 12, 14 or 16 digits, as"],
        ),
        (
            {"FANGXIAN_BROWSER_ORIGINS": '["a.cn"]'},
            ["BROWSER_ORIGINS: 'a.cn' is not an origin", "https://console.example"],
        ),
        ({"FANGXIAN_BROWSER_ORIGINS": '["https://a.cn/"]'}, ["'https://a.cn/' is not an origin"]),
        ({"FANGXIAN_PUBLIC_URL": "fangxian.example.cn"}, ["PUBLIC_URL: should begin with https:// or http://"]),
        (
            {"FANGXIAN_PHONE_GATEWAY_URL": "https://sms.example.cn"},
            ["FANGXIAN_PHONE_GATEWAY_URL needs FANGXIAN_PHONE_GATEWAY_SECRET"],
        ),
        (PHONES | {"FANGXIAN_PHONE_GATEWAY_SECRET": "hush"}, ["PHONE_GATEWAY_SECRET: should be whsec_ and the base64"]),
        ({"FANGXIAN_MINI_PROGRAM_ID": "wx1"}, ["FANGXIAN_MINI_PROGRAM_ID and FANGXIAN_MINI_PROGRAM_SECRET need each"]),
        ({"FANGXIAN_MASTER_KEYS": "vault"}, ["MASTER_KEYS: should be 'file', 'environment' or 'kms', as in 'file'"]),
        ({"FANGXIAN_TESTING_RETEST_HOURS": "-1"}, ["FANGXIAN_TESTING_RETEST_HOURS: should be more than 0, as in '24'"]),
        (
            {"FANGXIAN_PRODUCTION": "true", "FANGXIAN_DATABASE_POOL": "many", "FANGXIAN_REGION": "1"},
            [
                "DATABASE_POOL: should be a whole number, as in '6'",
                "REGION: should be the code of a region",
                "needs FANGXIAN_DEVELOPMENT_ISSUER=false",
                "needs FANGXIAN_PUBLIC_URL",
            ],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_settings_that_cannot_work_are_all_told_with_examples(
    run: Run, place: Path, settings: dict[str, str], sentences: list[str]
) -> None:
    done = run("up", "--data", str(place / "data"), "--port", str(a_port()), **settings)
    assert (done.returncode, (place / "data").exists()) == (1, False)
    for sentence in sentences:
        assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == (1 if len(sentences) == 1 or len(settings) == 1 else len(sentences) + 1)
    told = " ".join(run("doctor", "--data", str(place / "data"), **settings).stdout.split())
    assert "WRONG settings The settings are wrong:" in told
