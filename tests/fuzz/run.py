"""Fuzzes an installation of its own as each of its callers, one after the other, and sums what was found.

`python tests/fuzz/run.py [port] [seconds as the command] [caller …]`; as each other caller a sixth of that. What
Schemathesis says of each, and the installation's logs, stay in the directory named at the end. Ends with 1 if anything
failed.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

HERE, BIN = Path(__file__).parent, Path(sys.executable).parent
CLASSES = ("CLIENT", "RESIDENT", "STAFF", "MACHINE")
ENVIRONMENT = {f"FANGXIAN_REQUESTS_A_MINUTE_PER_{who}": "100000000" for who in CLASSES}
"""Else most answers would be 429, which every check takes."""
ENVIRONMENT |= {"FANGXIAN_DEMONSTRATION_IDS": "true"}
API = (HERE / "schemathesis.toml", "{}/openapi.json")
ISSUER = (HERE / "issuer.toml", HERE / "issuer.yaml", "--url", "{}")
AREA = "350582005"
POINT = {"name": "检查点", "region": AREA, "passes": ["green"], "receipt_seconds": 600}
APP = {
    "client_id": "grid-app",
    "kind": "app",
    "name": "网格员应用",
    "region": AREA,
    "redirect_uris": ["https://app.example.com/signed-in"],
}
COMMAND = {"role": "command", "region": ""}
CALLERS: dict[str, dict[str, str]] = {
    "command": COMMAND,
    "sampler": {"role": "sampler", "region": AREA},
    "laboratory": {"role": "laboratory", "party": "lab-jinjiang"},
    "auditor": {"role": "auditor", "region": ""},
    "checkpoint": {"role": "checkpoint", "region": AREA},
    "resident": {"role": "resident", "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"},
    "grid_worker": {"role": "grid_worker", "region": AREA},
    "community_officer": {"role": "community_officer", "region": AREA},
    "hospital": {"role": "hospital", "region": AREA, "party": "hospital-jinjiang"},
    "desk_120": {"role": "desk_120", "party": "desk_120"},
    "issuer": COMMAND,
}


def main(port: str = "18000", seconds: str = "1200", *names: str) -> int:
    """Run all callers, or those named, and say how many requests there were and how many failures."""
    kept = Path(tempfile.mkdtemp(prefix="fangxian-fuzz-", dir="/var/tmp"))
    found = []
    with installation(kept, port) as url:
        for name in names or CALLERS:
            caller = CALLERS[name]
            what = ISSUER if name == "issuer" else API
            budget = int(seconds) if name == "command" else int(seconds) // 6
            found.append(fuzz(kept / name, token_of(url, caller), budget, [str(part).format(url) for part in what]))
    requests, failures = map(sum, zip(*found, strict=True))
    print(f"{'all':<20}{requests:>8} requests {failures:>4} failures; {kept}", flush=True)
    return 1 if failures else 0


@contextlib.contextmanager
def installation(kept: Path, port: str) -> Iterator[str]:
    """Run a new one: with what the demo leaves, and the client and the service point that some callers need."""
    url = f"http://127.0.0.1:{port}"
    where = ["--data", str(kept / "data"), "--port", port]
    with (kept / "up").open("w") as said:
        subprocess.run([BIN / "fangxian", "demo", "--people", "300", *where], stdout=said, stderr=said, check=True)
        up = [BIN / "fangxian", "up", *where]
        process = subprocess.Popen(up, env=os.environ | ENVIRONMENT, stdout=said, stderr=said)
    try:
        for _ in range(120):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/readyz").is_success:
                    break
            time.sleep(1)
        act(url, "clients", APP)
        CALLERS["checkpoint"]["party"] = act(url, "service-points", POINT)["id"]
        yield url
    finally:
        process.terminate()
        process.wait()


def token_of(url: str, caller: dict[str, str]) -> str:
    """Let the development's issuer make a token for a caller."""
    answer = httpx.post(f"{url}/gateway/v1/development/tokens", json=caller).raise_for_status()
    return str(answer.json()["access_token"])


def act(url: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """Add something as the command."""
    headers = {"authorization": f"Bearer {token_of(url, COMMAND)}", "idempotency-key": str(uuid4())}
    made: dict[str, Any] = httpx.post(f"{url}/gateway/v1/{what}", json=body, headers=headers).raise_for_status().json()
    return made


def fuzz(to: Path, token: str, seconds: int, what: list[str]) -> tuple[int, int]:
    """Fuzz as one caller: all checks, all phases. Give the requests made, and the failures and errors among them."""
    report = to.with_suffix(".json")
    run = [BIN / "st", "--config-file", what[0], "run", *what[1:], "-H", f"Authorization: Bearer {token}"]
    run += ["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--max-time", str(seconds)]
    run += ["--workers", "1", "--no-color", "--report", "json", "--report-json-path", str(report)]
    with to.with_suffix(".log").open("w") as said:
        subprocess.run(run, cwd=HERE.parent.parent, stdout=said, stderr=said, check=False)
    found = json.loads(report.read_text())
    made, failed = found["test_cases"]["generated"], len(found["failures"]) + len(found["errors"])
    print(f"{to.name:<20}{made:>8} requests {failed:>4} failures {found['running_time']:>6.0f} s", flush=True)
    return made, failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
