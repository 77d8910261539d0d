"""Keys that id_tokens are signed with: RS256, which every OpenID client understands. Rotated without anybody's doing.

They are made when first needed and lie sealed in the database, so that all processes share them. A new one is published
before it is used; an old one stays published for longer than anything it signed.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey
from sqlalchemy import select, text

from services.gateway.issuer.tables import IssuerKeyRow
from shared import clock
from shared.house import House
from shared.ids import new_id
from shared.problems import Unavailable

log = structlog.get_logger()

ALGORITHM = "RS256"
BITS = 2048
ROTATED_AFTER = timedelta(days=90)
FORGOTTEN_AFTER = timedelta(days=180)
PUBLISHED_BEFORE_USE = timedelta(minutes=10)
LOOK_SECONDS = 60.0
RETRY_SECONDS = 1.0

LOCK = text("SELECT pg_advisory_xact_lock(hashtext('gateway.issuer_keys'))")
FORGET = text("DELETE FROM issuer_keys WHERE made_at < :before")


class Made(NamedTuple):
    """A key, and since when it is published."""

    at: datetime
    key: RSAKey


@dataclass
class SigningKeys:
    """The keys of the installation, as this process knows them."""

    _made: list[Made] = field(default_factory=list)

    @property
    def public(self) -> list[dict[str, Any]]:
        """As `/oauth/jwks` shows them."""
        return [
            {**made.key.as_dict(private=False), "kid": made.key.kid, "use": "sig", "alg": ALGORITHM}
            for made in self._made
        ]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """An id_token."""
        if not self._made:
            raise Unavailable()
        usable = [made for made in self._made if made.at <= clock.now() - PUBLISHED_BEFORE_USE] or self._made[:1]
        key = usable[-1].key
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, dict(claims), key, algorithms=[ALGORITHM])

    def read(self, token: str) -> Mapping[str, Any] | None:
        """What an id_token of ours says, however old it is; None if it is not ours."""
        try:
            keys = KeySet([made.key for made in self._made])
            found: Mapping[str, Any] = jwt.decode(token, keys, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError):
            return None
        return found

    async def keep_reading(self, house: House) -> None:
        """Know the keys, for as long as the process lives."""
        while True:
            try:
                await self.load(house)
            except Exception as error:  # the database may be away in a hundred ways; those we have stay good
                log.warning("issuer.keys_not_read", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS if self._made else RETRY_SECONDS)

    async def load(self, house: House) -> None:
        """Read the keys; make one if there is none, or if the newest has served long enough."""
        async with house.system_work("issuer keys") as work:
            await work.session.execute(LOCK)
            await work.run(FORGET, before=work.now - FORGOTTEN_AFTER)
            asked = select(IssuerKeyRow).order_by(IssuerKeyRow.made_at)
            rows = list(await work.session.scalars(asked))
            if not rows or rows[-1].made_at < work.now - ROTATED_AFTER:
                rows.append(IssuerKeyRow(id=new_id(), made_at=work.now))
                rows[-1].private = await asyncio.to_thread(_new_key)
                work.session.add(rows[-1])
        self._made = [Made(row.made_at, RSAKey.import_key(json.loads(row.private or ""))) for row in rows]


def _new_key() -> str:
    key = RSAKey.generate_key(BITS, {"kid": f"id-{new_id()}", "use": "sig"}, private=True)
    return json.dumps(key.as_dict(private=True))
