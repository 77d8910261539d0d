"""Signed ends of the chains. A copy kept outside proves later that no earlier entry was changed."""

from datetime import date
from typing import Any

from pydantic import ConfigDict, Field
from sqlalchemy import text

from shared.audit.canonical import head_of
from shared.audit.chaining import end_of
from shared.audit.signing import key_of, signed
from shared.contracts.resource import Schema
from shared.crypto.tokens import Signer
from shared.database.unit_of_work import UnitOfWork

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


class Head(Schema):
    """The signed head of one service's day: the length of its chain and the last hash."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(EXAMPLE)]})

    format: str
    service: str
    day: str = Field(description="The day, in Asia/Shanghai.")
    size: int = Field(description="Number of chained entries.")
    hash: str = Field(description="Hash of the last chained entry, in hexadecimal digits.")
    time: str = Field(description="Time of the signature.")
    key: str = Field(description="Id of the signing key.")
    signature: str = Field(description="Ed25519 over the canonical JSON of all other fields; base64url.")


SELECT_HEAD = text("SELECT size, hash FROM audit_heads WHERE day = :day")


async def head_now(uow: UnitOfWork, day: date) -> Head:
    """Build and sign the current head of a day's chain, also for a day whose entries retention has removed."""
    size, end = await end_of(uow, day)
    if not size and (heads := await uow.rows(SELECT_HEAD, day=day)):
        size, end = heads[0]["size"], bytes(heads[0]["hash"])
    signer = uow.context.signer
    return Head.model_validate(signed(signer, head_of(signer.service, day, size, end, uow.now, key_of(signer))))


def public_keys(signer: Signer) -> list[dict[str, Any]]:
    """Return the public keys that verify heads, as JWKs (RFC 8037)."""
    return [dict(key.as_dict(private=False)) for key in signer.public.keys]
