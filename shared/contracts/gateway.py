"""What the gateway says in public: codes, and messages that other systems posted."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.resource import Resource

Colour = Literal["green", "yellow", "red"]


class Reason(BaseModel):
    """One rule that restricts a person, and the record it rests on."""

    model_config = ConfigDict(frozen=True)

    rule: str
    colour: Colour
    evidence_type: str
    evidence_id: UUID
    since: datetime
    until: datetime | None = Field(default=None, description="When time alone ends it; null if only evidence does.")


class Code(Resource, type="gateway.code.v1"):
    """A person's health code: the value of a pure function of facts and the published policy. Nobody can set it.

    Its `id` is the resident's. After `until` it is `colour_after`, without anybody's doing.
    """

    colour: Colour
    until: datetime | None = None
    colour_after: Colour = "green"
    reasons: tuple[Reason, ...] = ()
    policy: int = Field(description="The version of the policy it follows from.")
    last_negative_at: datetime | None = Field(default=None, description="Sampling time of the last negative test.")


class Message(Resource, type="gateway.message.v1"):
    """What another system posted to us, signed, exactly once. `source` is who; `kind` and `data` are theirs."""

    source: Literal["desk_120", "hospital", "municipal"]
    message_id: str
    kind: str
    occurred_at: datetime = Field(description="By the sender's own clock, which orders its messages.")
    received_at: datetime
    data: dict[str, Any]
