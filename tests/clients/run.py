"""Generates clients from the document, builds them, and lets each go on a journey through a real installation.

`python tests/clients/run.py [name …]`: without names all of them. It needs the network for pip and npm, and Node 20.
It works in a directory of its own and removes it. One block of lines for each name; ends with 1 if anything failed.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from deploy.demo import installation  # noqa: E402 - a script, run from anywhere
from shared.core.settings import SERVICES  # noqa: E402

SETTINGS = {"FANGXIAN_DEMONSTRATION_IDS": "true"}
PYTHON = {"openapi-python-client": "0.29.1", "httpx": "0.28.1", "attrs": "26.1.0"}
NODE = {
    "@asyncapi/parser": "3.6.6",
    "@hey-api/openapi-ts": "0.95.0",
    "@redocly/cli": "2.77.0",
    "@stoplight/spectral-cli": "6.16.3",
    "@types/node": "20.19.0",
    "openapi-fetch": "0.17.0",
    "openapi-typescript": "7.13.0",
    "orval": "7.13.2",
    "typescript": "5.9.3",
}
STRICT = {
    "compilerOptions": {
        "strict": True,
        "target": "es2022",
        "lib": ["es2023", "dom", "dom.iterable"],
        "module": "nodenext",
        "moduleResolution": "nodenext",
        "skipLibCheck": True,
        "types": ["node"],
    }
}
ASYNCAPI_RULES = {
    "extends": ["spectral:asyncapi"],
    # The project has no address of its own, and an installation's is its operator's to give.
    "rules": {"asyncapi-info-contact-properties": "off"},
}


class FailedError(Exception):
    """A generator, a compiler or a journey did not end well."""


def fetched(address: str) -> bytes:
    """What is served there."""
    with urlopen(address) as answer:
        found: bytes = answer.read()
    return found


def until_whole(address: str) -> bytes:
    """The document with all four services in it. On a busy machine one may not have described itself in time."""
    for _ in range(60):
        with contextlib.suppress(HTTPError):
            found = fetched(address)
            if all(f'"/{service}/v1/'.encode() in found for service in SERVICES):
                return found
        time.sleep(5)
    raise FailedError("the document does not become whole")


class Bench:
    """A directory with the documents and the tools."""

    def __init__(self, directory: Path, address: str) -> None:
        self.directory, self.address = directory, address
        self.write("asyncapi.json", fetched(f"{address}/asyncapi.json"))
        self.write("openapi.json", until_whole(f"{address}/openapi.json"))

    def write(self, name: str, content: bytes | str | Mapping[str, object]) -> None:
        """Put a file there."""
        target = self.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    def run(self, *command: str, **environment: str) -> str:
        """Run a command there; what it said. Raises FailedError."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=os.environ | {"NO_COLOR": "1", "CI": "1"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
            check=False,
        )
        if done.returncode:
            raise FailedError(f"{' '.join(command)}\n{done.stdout[-6000:]}")
        return done.stdout

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of the tools that npm installed."""
        return self.run(str(self.directory / "node_modules" / ".bin" / name), *arguments)

    def typescript(self, journey: str) -> str:
        """Compile a journey strictly, and go on it."""
        for name in ("journey.ts", journey):
            self.write(name, (HERE / name).read_text(encoding="utf-8"))
        self.write("tsconfig.json", {**STRICT, "files": [journey]})
        self.tool("tsc", "--project", "tsconfig.json")
        return self.run("node", journey.replace(".ts", ".js"), self.address)


def python_client(bench: Bench) -> str:
    """openapi-python-client: no operation may be lost but the picture, whose format it does not know."""
    place = bench.directory / "python"
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    pinned = [f"{name}=={version}" for name, version in PYTHON.items()]
    bench.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned)
    bench.write("config.yml", "project_name_override: fangxian-client\npackage_name_override: fangxian_client\n")
    said = bench.run(
        *(str(place / "bin" / "openapi-python-client"), "generate", "--path", "openapi.json"),
        *("--output-path", "client", "--config", "config.yml"),
    )
    warnings = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]
    if warnings != ["WARNING parsing GET /gateway/v1/code.svg within codes."]:
        raise FailedError("\n".join(warnings))
    made = [
        one for one in (bench.directory / "client" / "fangxian_client" / "api").glob("*/*.py") if one.stem[0] != "_"
    ]
    document = json.loads((bench.directory / "openapi.json").read_text(encoding="utf-8"))
    if len(made) != sum(len(item) for item in document["paths"].values()):
        raise FailedError(f"{len(made)} operations were generated")
    bench.write("journey.py", (HERE / "journey.py").read_text(encoding="utf-8"))
    path = os.pathsep.join([str(bench.directory / "client")])
    return f"operations: {len(made)}\n" + bench.run(python, "journey.py", bench.address, PYTHONPATH=path)


def openapi_fetch(bench: Bench) -> str:
    """openapi-typescript as it is without options, and openapi-fetch."""
    bench.tool("openapi-typescript", "openapi.json", "--output", "schema.d.ts")
    return bench.typescript("openapi_fetch.ts")


def orval(bench: Bench) -> str:
    """orval with its client for fetch."""
    output = {"target": "generated.ts", "client": "fetch", "baseUrl": bench.address}
    config = {"fangxian": {"input": {"target": "openapi.json"}, "output": output}}
    bench.write("orval.config.cjs", f"module.exports = {json.dumps(config)};\n")
    bench.tool("orval", "--config", "orval.config.cjs")
    return bench.typescript("orval.ts")


def hey_api(bench: Bench) -> str:
    """@hey-api/openapi-ts with its client for fetch."""
    config = {
        "input": "openapi.json",
        "output": {"path": "hey", "module": {"extension": ".js"}},
        "plugins": ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
        "logs": {"file": False},
    }
    bench.write("openapi-ts.config.mjs", f"export default {json.dumps(config)};\n")
    bench.tool("openapi-ts", "--file", "openapi-ts.config.mjs")
    return bench.typescript("hey_api.ts")


def redocly(bench: Bench) -> str:
    """Redocly's recommended rules: no error and no warning."""
    said = bench.tool("redocly", "lint", "openapi.json", "--extends", "recommended", "--format", "json")
    totals = json.JSONDecoder().raw_decode(said[said.index("{") :])[0]["totals"]
    if totals["errors"] or totals["warnings"]:
        raise FailedError(said[-6000:])
    return f"{totals['errors']} errors, {totals['warnings']} warnings\n"


def spectral(bench: Bench) -> str:
    """Spectral's rules for OpenAPI and AsyncAPI: no error and no warning."""
    bench.write("oas.json", {"extends": ["spectral:oas"]})
    bench.write("asyncapi-rules.json", ASYNCAPI_RULES)
    openapi = bench.tool("spectral", "lint", "openapi.json", "--ruleset", "oas.json", "--fail-severity", "warn")
    rules = ("--ruleset", "asyncapi-rules.json", "--fail-severity", "warn")
    return openapi + bench.tool("spectral", "lint", "asyncapi.json", *rules)


def asyncapi(bench: Bench) -> str:
    """The parser of AsyncAPI: no error."""
    bench.write("asyncapi.mjs", (HERE / "asyncapi.mjs").read_text(encoding="utf-8"))
    return bench.run("node", "asyncapi.mjs", "asyncapi.json")


RUNS: dict[str, Callable[[Bench], str]] = {
    "redocly": redocly,
    "spectral": spectral,
    "asyncapi": asyncapi,
    "openapi-python-client": python_client,
    "openapi-typescript": openapi_fetch,
    "orval": orval,
    "hey-api": hey_api,
}


def main(names: list[str]) -> int:
    """Run what is named."""
    if unknown := set(names) - RUNS.keys():
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
        return 2
    failed = []
    with tempfile.TemporaryDirectory() as place, installation.running(None, None, SETTINGS) as running:
        bench = Bench(Path(place), running.url)
        bench.write("package.json", {"type": "module", "private": True, "dependencies": NODE})
        bench.run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
        print("node", bench.run("node", "--version").strip(), *(f"{name}@{version}" for name, version in NODE.items()))
        print("python", sys.version.split()[0], *(f"{name}=={version}" for name, version in PYTHON.items()))
        for name in names or RUNS:
            try:
                print(f"\n== {name}\n{RUNS[name](bench).strip()}\nok", flush=True)
            except (FailedError, subprocess.TimeoutExpired) as error:
                print(f"\n== {name}\n{error}\nFAILED", flush=True)
                failed.append(name)
    print(f"\n{len(names or RUNS) - len(failed)} ok, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
