"""What several files of tests share."""

from collections.abc import AsyncIterator

import pytest

from tests.shared.fast_path_server import Place, open_place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A server with one hot route."""
    async with open_place() as there:
        yield there
