"""Step 2, transport and laboratory: boxes of sealed tubes, and results in batches."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from deploy.demo.devices import chunks
from deploy.demo.parties import Party
from deploy.demo.world import LABORATORY

BOXES = "/testing/v1/boxes"
RESULTS = "/testing/v1/results"
TUBES_PER_BOX = 100
RESULTS_PER_BATCH = 200


async def bring(packer: Party, laboratory: Party, numbers: Sequence[str]) -> list[Any]:
    """Pack sealed tubes and deliver them. The laboratory counts them. Returns the boxes as received."""
    received = []
    for packed in chunks(numbers, TUBES_PER_BOX):
        box = await packer.post(BOXES, {"tube_numbers": packed, "laboratory": LABORATORY}, once=True)
        await packer.post(f"{BOXES}/{box['id']}/pick-up")
        await packer.post(f"{BOXES}/{box['id']}/depart")
        received.append(await laboratory.post(f"{BOXES}/{box['id']}/receive", {"tube_numbers": packed}))
    return received


async def report(laboratory: Party, outcomes: dict[str, str]) -> Counter[str]:
    """Post results by tube number. Returns the number of each answer."""
    answers: Counter[str] = Counter()
    for batch in chunks(list(outcomes.items()), RESULTS_PER_BATCH):
        answer = await laboratory.post(RESULTS, {"items": [_result(number, outcome) for number, outcome in batch]})
        answers.update(item["status"] for item in answer["items"])
    return answers


def _result(number: str, outcome: str) -> dict[str, Any]:
    return {"tube_number": number, "outcome": outcome, "tested_at": datetime.now(UTC).isoformat(), "revision": 1}
