#!/usr/bin/env bash
# fastapi 0.165.0 (PyPI), Python 3.11: `include_router` does not copy routes any more. It keeps the router, and the first
# request that reaches it analyses every endpoint of that router once more (parameters, dependencies, Pydantic adapters),
# although the router did so when its routes were declared. In a program that declares its routes, forks workers and then
# serves, each worker pays this with its first request, in time and in memory that the workers no longer share.
# Expected: the work is done when the route is declared, or when the router is included.
# Output seen (50 routes, each with one dependency):
#   declared: 100   included: 0   first request: 100   second request: 0
# Exits 1 if the first request no longer analyses the endpoints.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fastapi==0.165.0 httpx==0.28.1
"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys

import fastapi.dependencies.utils as utils
import fastapi.routing as routing
import httpx
from fastapi import APIRouter, Depends, FastAPI

calls = 0
analyse = utils.get_dependant


def counted(*args, **options):
    global calls
    calls += 1
    return analyse(*args, **options)


utils.get_dependant = routing.get_dependant = counted


def since_last():
    global calls
    found, calls = calls, 0
    return found


def who() -> str:
    return "somebody"


router = APIRouter()
for number in range(50):

    async def endpoint(q: int = 0, caller: str = Depends(who)) -> dict[str, str]:
        return {"caller": caller}

    router.get(f"/{number}")(endpoint)
declared = since_last()
app = FastAPI()
app.include_router(router)
included = since_last()


async def ask() -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        assert (await client.get("/49")).status_code == 200
    return since_last()


first, second = asyncio.run(ask()), asyncio.run(ask())
print(f"declared: {declared}   included: {included}   first request: {first}   second request: {second}")
sys.exit(0 if first >= declared > 0 and second == 0 else 1)
PY
