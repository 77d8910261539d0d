"""The audit as its operator meets it: real processes, a killed worker, an export, and somebody who tampers."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from deploy import data as directories
from deploy import status
from deploy.demo.installation import running
from deploy.feed import installed
from deploy.up import options
from shared.core.clock import day_of
from tests.days import until_a_day_lasts
from tests.deploy.starting import ROOT, a_port, clean_environment
from tests.prepared import copied_to

SETTINGS = {"FANGXIAN_DEVELOPMENT_ISSUER": "true", "DATABASE_URL": "", "REDIS_URL": ""}
HEADS = "/gateway/v1/audit/heads"
VISITS = """
    INSERT INTO gateway.visits (scan_id, at, point_id, resident_id, region, colour, outcome, temperature_tenths,
        receipt_seconds, decided_at)
    SELECT gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(), '350582005001', 1, 16, 360 + number, 600,
        now()
    FROM generate_series(1, 5) AS number
"""


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fa"))
    path.chmod(0o711)
    yield copied_to(path / "data")
    if (path / "data").exists():
        directories.remove(directories.at(path / "data"))


def fangxian(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "deploy.cli", *words]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def sizes(client: httpx.Client) -> dict[str, int]:
    answer: dict[str, Any] = client.get(HEADS).raise_for_status().json()
    return {head["service"]: head["size"] for head in answer["heads"]}


def wait_for(client: httpx.Client, service: str, size: int) -> float:
    """Seconds until so many entries are sealed."""
    began = time.monotonic()
    while sizes(client)[service] < size:
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    return time.monotonic() - began


def tamper(place: Path, statement: str) -> None:
    async def act() -> None:
        connection = await asyncpg.connect(installed(options(place, environment={})).owner_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(act())


def test_from_an_act_to_whoever_tampers_with_its_trace(place: Path, tmp_path: Path) -> None:
    until_a_day_lasts(120)
    today = day_of(datetime.now(UTC)).isoformat()
    file, kept = tmp_path / "export", tmp_path / "heads.json"
    of_visits = ("--visits", str(tmp_path / "visits"))
    with running(place, a_port(), SETTINGS) as found, httpx.Client(base_url=found.url) as client:
        for _ in range(5):
            asked = {"role": "command", "region": "350582005"}
            client.post("/gateway/v1/development/tokens", json=asked).raise_for_status()
        wait_for(client, "gateway", 5)
        state: Any = status.read(directories.at(place).status)
        (worker,) = (one["pid"] for one in state["processes"] if one["name"] == "gateway-worker")
        os.kill(worker, signal.SIGKILL)
        client.post("/gateway/v1/development/tokens", json=asked).raise_for_status()
        tamper(place, VISITS)
        wait_for(client, "gateway", 7)  # the visits came while nobody sealed
        kept.write_text(client.get(HEADS).text)

        code, said = fangxian("audit", "export", "--day", today, "--out", str(file), *of_visits, "--data", str(place))
        assert code == 0, said
        assert f"entries of {today} are in {file}." in said
        code, said = fangxian("audit", "verify", str(file), "--head", str(kept), *of_visits, "--data", str(place))
        assert code == 0, said
        assert f"visits {today}: 5 visits in 1 batches, whole; 0 purged" in said
        # The export's own entry may be sealed already.
        assert re.search(rf"gateway {today}: [789] entries, whole; signed by gateway", said), said
        wait_for(client, "registry", 1)  # that it was exported is in the audit
        assert fangxian("audit", "verify", "--head", str(kept), "--data", str(place))[0] == 0

        tamper(place, "UPDATE gateway.visits SET colour = 3 WHERE temperature_tenths = 364")
        code, said = fangxian("audit", "verify", "--data", str(place))
        assert code == 1
        assert re.search(rf"visits {today}: CHANGED: visit \S+ in batch 1 was changed", said), said
        tamper(place, "UPDATE gateway.audit SET actor = 'x' WHERE seq = (SELECT min(seq) FROM gateway.audit)")
        code, said = fangxian("audit", "verify", "--data", str(place))
        assert code == 1
        assert f"gateway {today}: CHANGED: entry 1 was changed" in said
        tamper(place, "DELETE FROM gateway.audit; DELETE FROM gateway.audit_seals")
        code, said = fangxian("audit", "verify", "--day", today, "--head", str(kept), "--data", str(place))
        assert code == 1
        assert f"gateway {today}: TRUNCATED" in said, said
