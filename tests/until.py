"""Waiting for what comes, and not for the clock."""

import asyncio
from collections.abc import Callable


async def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so, that nobody tells of."""
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)
