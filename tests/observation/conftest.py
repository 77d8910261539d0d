"""A household that is known, and the officer who answers for it."""

import httpx
import pytest

from shared.core.actors import Role
from shared.core.ids import new_id
from tests.harness import District
from tests.observation.feeds import publish_to_observation, resident
from tests.observation.households import Home


@pytest.fixture
async def home(district: District) -> Home:
    home = Home()
    await publish_to_observation(district, *home.residents(), resident(new_id(), new_id()))
    return home


@pytest.fixture
def officer(district: District) -> httpx.AsyncClient:
    return district.caller("observation", Role.COMMUNITY_OFFICER, scope="350582005001")
