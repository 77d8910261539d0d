"""The keys that sign id_tokens: RS256, because every OpenID client supports it. They are rotated automatically.

Keys are created on first use and stored encrypted in the database, so that all processes share them. A new key is
published before it is used. An old key stays published longer than any token it signed.
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
from shared.core import clock
from shared.core.ids import new_id
from shared.problems import Unavailable
from shared.runtime.context import ServiceContext

log = structlog.get_logger()

ALGORITHM = "RS256"
BITS = 2048
ROTATED_AFTER = timedelta(days=90)
FORGOTTEN_AFTER = timedelta(days=180)
PUBLISHED_BEFORE_USE = timedelta(minutes=10)
LOOK_SECONDS = 60.0
RETRY_SECONDS = 1.0

LOCK_KEYS = text("SELECT pg_advisory_xact_lock(hashtext('gateway.issuer_keys'))")
DELETE_OLD_KEYS = text("DELETE FROM issuer_keys WHERE made_at < :before")


class Made(NamedTuple):
    """A key with the time of its publication."""

    at: datetime
    key: RSAKey


@dataclass
class SigningKeys:
    """The keys of the installation, as loaded in this process."""

    _made: list[Made] = field(default_factory=list)

    @property
    def public(self) -> list[dict[str, Any]]:
        """The public keys for `/oauth/jwks`."""
        return [
            {**made.key.as_dict(private=False), "kid": made.key.kid, "use": "sig", "alg": ALGORITHM}
            for made in self._made
        ]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Sign an id_token. Raises Unavailable while no key is loaded."""
        if not self._made:
            raise Unavailable()
        usable = [made for made in self._made if made.at <= clock.now() - PUBLISHED_BEFORE_USE] or self._made[:1]
        key = usable[-1].key
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, dict(claims), key, algorithms=[ALGORITHM])

    def read(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of an id_token of this issuer, even if expired; None if it is not of this issuer."""
        try:
            keys = KeySet([made.key for made in self._made])
            claims: Mapping[str, Any] = jwt.decode(token, keys, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError):
            return None
        return claims

    async def keep_reading(self, context: ServiceContext) -> None:
        """Load the keys every minute, until cancelled."""
        while True:
            try:
                await self.load(context)
            except Exception as error:  # the database can fail in many ways; the loaded keys stay valid
                log.warning("issuer.keys_not_read", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS if self._made else RETRY_SECONDS)

    async def load(self, context: ServiceContext) -> None:
        """Load the keys. Create one if there is none, or if the newest is due for rotation."""
        async with context.system_unit_of_work("issuer keys") as uow:
            await uow.session.execute(LOCK_KEYS)
            await uow.run(DELETE_OLD_KEYS, before=uow.now - FORGOTTEN_AFTER)
            query = select(IssuerKeyRow).order_by(IssuerKeyRow.made_at)
            rows = list(await uow.session.scalars(query))
            if not rows or rows[-1].made_at < uow.now - ROTATED_AFTER:
                rows.append(IssuerKeyRow(id=new_id(), made_at=uow.now))
                rows[-1].private = await asyncio.to_thread(_new_key)
                uow.session.add(rows[-1])
        self._made = [Made(row.made_at, RSAKey.import_key(json.loads(row.private or ""))) for row in rows]


def _new_key() -> str:
    key = RSAKey.generate_key(BITS, {"kid": f"id-{new_id()}", "use": "sig"}, private=True)
    return json.dumps(key.as_dict(private=True))
