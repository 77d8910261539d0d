"""What several files of tests share."""

from collections.abc import AsyncIterator

import pytest

from tests.shared.fast_path_server import FastPathServer, open_server


@pytest.fixture
async def server() -> AsyncIterator[FastPathServer]:
    """A server with one hot route."""
    async with open_server() as there:
        yield there
