"""Idempotency keys: the same act twice is one act, answered twice in the same words.

The first statement of the transaction claims (actor, operation, key); the finished answer is stored by its last, in
the same transaction, sealed, and kept for 24 hours. A second request waits for the first at the unique index.
Problems are not stored: whoever was refused may try again with the same key.
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID

import msgspec
from fastapi import Response
from sqlalchemy import text

from shared.ids import named_id
from shared.problems import KeyReused, Problem, Text
from shared.work import Work

KEPT_HEADERS = ("content-type", "location", "etag")

CLAIM = text("""
    INSERT INTO idempotency (id, fingerprint, at) VALUES (:id, :fingerprint, :now)
    ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, at = excluded.at
        WHERE idempotency.at < excluded.at - interval '24 hours'
    RETURNING id
""")
LOOK = text("SELECT fingerprint, answer FROM idempotency WHERE id = :id")
KEEP = text("UPDATE idempotency SET answer = :answer WHERE id = :id")
FORGET = text("DELETE FROM idempotency WHERE at < :before")


class KeyMissing(Problem):
    """What creates something needs a key, so that it can be sent again safely."""

    status = 400
    code = "idempotency_key_missing"
    title = Text(zh="缺少 Idempotency-Key", en="Idempotency-Key is missing")
    fix = Text(
        zh="请在请求头中加入 Idempotency-Key（每次新操作一个新值，重发时用原值）",
        en="Send an Idempotency-Key header: a new value for each new operation, the same value for a retry",
    )


PROBLEMS: tuple[type[Problem], ...] = (KeyMissing, KeyReused)


class Kept(msgspec.Struct):
    """A finished answer."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is ours, or the answer that was given under it."""

    id: UUID
    answer: Response | None = None


async def claim(work: Work, operation: str, key: str, path: str, body: bytes) -> Claim:
    """Claim a key for this act, or find the answer given before. Raises `KeyReused`."""
    id_ = named_id("idempotency", f"{work.actor.subject}\n{operation}\n{key}")
    fingerprint = hashlib.sha256(path.encode() + b"\n" + body).digest()
    won = await work.rows(CLAIM, id=id_, fingerprint=fingerprint, now=work.now)
    if won:
        return Claim(id_)
    found = (await work.rows(LOOK, id=id_))[0]
    if bytes(found["fingerprint"]) != fingerprint:
        raise KeyReused()
    opened = work.house.keyring.open("idempotency.answer", id_, bytes(found["answer"]))
    kept = msgspec.json.decode(opened, type=Kept)
    headers = kept.headers | {"idempotency-replayed": "true"}
    return Claim(id_, Response(kept.body.encode(), kept.status, headers))


async def keep(work: Work, claim: Claim, response: Response) -> None:
    """Store the finished answer under a claimed key."""
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    kept = Kept(response.status_code, headers, bytes(response.body).decode())
    sealed = work.house.keyring.seal("idempotency.answer", claim.id, msgspec.json.encode(kept).decode())
    await work.run(KEEP, id=claim.id, answer=sealed)
