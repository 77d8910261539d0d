"""Requests of protocols."""

import json
from importlib.resources import files
from typing import Any

from pydantic import ConfigDict, Field

from services.observation.protocols.rules import Protocol
from shared.contracts.resource import Schema


def _example() -> dict[str, Any]:
    first = json.loads((files(__package__) / "protocol_1.json").read_text("utf-8"))
    return {"protocol": {**first, "number": 2, "valid_from": "2021-05-11"}, "reason": "国家第八版防控方案"}


class ProtocolProposed(Schema):
    """A new version of the protocol, with the reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [_example()]})

    protocol: Protocol
    reason: str = Field(min_length=1, max_length=1_000)
