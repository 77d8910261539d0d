"""What a door needs, a database of its own that tells it no more than it may know; receivers of webhooks; a caller."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from deploy import embedded
from services.gateway.batcher import connector
from services.gateway.verifications.door import VerificationBatcher, batcher_over
from services.gateway.verifications.rules import outcomes
from shared.core.actors import Role
from tests.gateway.doors import NOW, POINTS, POLICIES, REGION, TABLES
from tests.gateway.receivers import Deliverer, Receiver, listening
from tests.harness import District


@pytest.fixture(scope="session")
def owner_url() -> Iterator[str]:
    with embedded.temporary() as servers:
        yield servers.owner_url


@pytest.fixture(scope="session")
async def door_url(owner_url: str) -> str:
    """Where the door connects, as a role that may do nothing else."""
    password = secrets.token_hex(8)
    owner = await asyncpg.connect(owner_url)
    await owner.execute(TABLES.format(password=password))
    for name, policy in POLICIES.items():
        hours = policy.negative_within_hours
        within = None if hours is None else timedelta(hours=hours)
        row = (POINTS[name], REGION, outcomes(policy), within, policy.fever_tenths)
        await owner.execute("insert into gateway.points values ($1, $2, $3, $4, $5)", *row)
    await owner.close()
    at = urlsplit(owner_url)
    return f"postgresql://a_door:{password}@{at.path}?{at.query}"


@pytest.fixture
async def owner(owner_url: str, door_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url)
    yield connection
    await connection.execute("truncate gateway.visits, gateway.codes")
    await connection.close()


@pytest.fixture
async def door(door_url: str, owner: asyncpg.Connection) -> AsyncIterator[VerificationBatcher]:
    async with batcher_over(connector(door_url), lambda: NOW) as door:
        yield door


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as made:
        yield made


@pytest.fixture
def command(district: District) -> httpx.AsyncClient:
    return district.caller("gateway", Role.COMMAND)


@pytest.fixture
async def deliverer(district: District) -> AsyncIterator[Deliverer]:
    made = Deliverer(district.contexts["gateway"])
    yield made
    await made.close()


@pytest.fixture
async def outside(district: District) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a token."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(district.apps["gateway"], raise_app_exceptions=False), base_url="http://gateway"
    ) as client:
        yield client
