"""Responses of retests: what a person reads of an own retest."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.testing.retests.rules import RetestState
from shared.problems import LocalizedText

CALLED = LocalizedText(
    zh="请等待工作人员上门，或按社区安排单独采样；结果出来前请不要外出",
    en="Wait for the staff at home, or have a single swab taken where your community tells you. "
    "Stay at home until you have the result",
)
SAMPLED = LocalizedText(
    zh="已为您单独采样，请等待结果；结果出来前请不要外出",
    en="Your own swab has been taken. Stay at home until you have the result",
)
WITHDRAWN = LocalizedText(
    zh="检测机构已更正混采结果，您无需复核", en="The laboratory has corrected the result. You need no retest"
)
NEGATIVE = LocalizedText(
    zh="您的单采复核结果为阴性，复核已完成", en="Your own swab was negative. The retest is complete"
)
POSITIVE = LocalizedText(
    zh="您的单采复核结果为阳性，请留在原地等待工作人员与您联系，请勿自行前往医院",
    en="Your own swab was positive. Stay where you are until the staff contact you. Do not go to a hospital "
    "on your own",
)
STEPS: Mapping[RetestState, LocalizedText] = {"called": CALLED, "sampled": SAMPLED, "withdrawn": WITHDRAWN}


def next_step(state: RetestState, outcome: Literal["negative", "positive"] | None) -> LocalizedText:
    """Return what the person must do now. `outcome` is that of the person's own swab."""
    if state == "settled":
        return POSITIVE if outcome == "positive" else NEGATIVE
    return STEPS[state]


class OwnRetest(BaseModel):
    """One's own retest: its due time, the next step, and the result of the own swab if there is one."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d71",
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "pool_id": "5a2f9f0c-2f0e-5b66-a1f3-0b8f3f1e2d31",
                    "tube_id": None,
                    "state": "called",
                    "called_at": "2021-01-20T15:00:02+08:00",
                    "due_at": "2021-01-21T15:00:02+08:00",
                    "outcome": None,
                    "next_step": CALLED.zh,
                }
            ]
        },
    )

    id: UUID
    resident_id: UUID
    pool_id: UUID = Field(description="The tube that requires the retest.")
    tube_id: UUID | None = Field(description="The tube of the own single swab, once it is taken.")
    state: RetestState
    called_at: datetime
    due_at: datetime = Field(description="By when the person should have the result.")
    outcome: Literal["negative", "positive"] | None = Field(
        description="The result of the own single swab. The result of the pool is never shown here."
    )
    next_step: str = Field(description="What the person must do now, in the reader's language.")
