"""The ends of the chains, signed: whoever keeps one outside can prove later that nothing before it was changed."""

from datetime import date
from typing import Any

from pydantic import ConfigDict, Field
from sqlalchemy import text

from shared.audit.canonical import head_of
from shared.audit.sealer import end_of
from shared.audit.signing import key_of, signed
from shared.contracts.resource import Said
from shared.tokens import Signer
from shared.work import Work

EXAMPLE: dict[str, str | int] = {
    "format": "fangxian-audit-head-1",
    "service": "testing",
    "day": "2021-01-21",
    "size": 1204,
    "hash": "5f0c7a0d1d3b2ad1a1f1f3a1e1f5c7f3a4c2b7a0c5d9e8f7a6b5c4d3e2f1a0b9",
    "time": "2021-01-21T16:10:00.000000Z",
    "key": "testing",
    "signature": "q3Yd…",
}


class Head(Said):
    """The signed head of one service's day: how long its chain is, and how it ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(EXAMPLE)]})

    format: str
    service: str
    day: str = Field(description="The day, in Asia/Shanghai.")
    size: int = Field(description="How many entries are chained.")
    hash: str = Field(description="The hash of the last of them, in hexadecimal digits.")
    time: str = Field(description="When it was signed.")
    key: str = Field(description="The id of the key that signed it.")
    signature: str = Field(description="Ed25519 over the canonical JSON of all other fields; base64url.")


KEPT = text("SELECT size, hash FROM audit_heads WHERE day = :day")


async def head_now(work: Work, day: date) -> Head:
    """The head of a day as far as it is sealed, signed by the service; also of a day whose entries are gone."""
    size, end = await end_of(work, day)
    if not size and (kept := await work.rows(KEPT, day=day)):
        size, end = kept[0]["size"], bytes(kept[0]["hash"])
    signer = work.house.signer
    return Head.model_validate(signed(signer, head_of(signer.service, day, size, end, work.now, key_of(signer))))


def public_keys(signer: Signer) -> list[dict[str, Any]]:
    """The public keys that heads are checked with, as JWKs (RFC 8037)."""
    return [dict(key.as_dict(private=False)) for key in signer.public.keys]
