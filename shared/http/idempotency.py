"""Idempotency keys: a repeated request takes effect once and gets the same answer again.

The first statement of the transaction claims (actor, operation, key). The last statement stores the encrypted answer in
the same transaction, for 24 hours. A concurrent second request waits for the first at the unique index. Problems are
not stored, so a refused request can be retried with the same key.
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID

import msgspec
from fastapi import Response
from sqlalchemy import text

from shared.core.ids import named_id
from shared.database.unit_of_work import UnitOfWork
from shared.problems import KeyReused, LocalizedText, Problem

KEPT_HEADERS = ("content-type", "location", "etag")

CLAIM_KEY = text("""
    INSERT INTO idempotency (id, fingerprint, at) VALUES (:id, :fingerprint, :now)
    ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, at = excluded.at
        WHERE idempotency.at < excluded.at - interval '24 hours'
    RETURNING id
""")
SELECT_ANSWER = text("SELECT fingerprint, answer FROM idempotency WHERE id = :id")
STORE_ANSWER = text("UPDATE idempotency SET answer = :answer WHERE id = :id")
DELETE_OLD_KEYS = text("DELETE FROM idempotency WHERE at < :before")


class KeyMissing(Problem):
    """A request that creates something needs a key, so that it can be retried safely."""

    status = 400
    code = "idempotency_key_missing"
    title = LocalizedText(zh="缺少 Idempotency-Key", en="Idempotency-Key is missing")
    fix = LocalizedText(
        zh="请在请求头中加入 Idempotency-Key（每次新操作用新值，重发时用原值）",
        en="Send an Idempotency-Key header: a new value for each new operation, the same value for a retry",
    )


PROBLEMS: tuple[type[Problem], ...] = (KeyMissing, KeyReused)


class Kept(msgspec.Struct):
    """A stored answer."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed key, with the earlier answer if there is one."""

    id: UUID
    answer: Response | None = None


async def claim(uow: UnitOfWork, operation: str, key: str, path: str, body: bytes) -> Claim:
    """Claim a key for this request, or return the earlier answer. Raises `KeyReused`."""
    id_ = named_id("idempotency", f"{uow.actor.subject}\n{operation}\n{key}")
    fingerprint = hashlib.sha256(path.encode() + b"\n" + body).digest()
    claimed = await uow.rows(CLAIM_KEY, id=id_, fingerprint=fingerprint, now=uow.now)
    if claimed:
        return Claim(id_)
    row = (await uow.rows(SELECT_ANSWER, id=id_))[0]
    if bytes(row["fingerprint"]) != fingerprint:
        raise KeyReused()
    decrypted = uow.context.keyring.decrypt("idempotency.answer", id_, bytes(row["answer"]))
    kept = msgspec.json.decode(decrypted, type=Kept)
    headers = kept.headers | {"idempotency-replayed": "true"}
    return Claim(id_, Response(kept.body.encode(), kept.status, headers))


async def keep(uow: UnitOfWork, claim: Claim, response: Response) -> None:
    """Store the answer under a claimed key."""
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    kept = Kept(response.status_code, headers, bytes(response.body).decode())
    ciphertext = uow.context.keyring.encrypt("idempotency.answer", claim.id, msgspec.json.encode(kept).decode())
    await uow.run(STORE_ANSWER, id=claim.id, answer=ciphertext)
