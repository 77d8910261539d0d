"""Decides who may reach a protected service: verify the code before the service (articles 4 and 6).

A verification at a service point gives a receipt, and the edge requires this receipt. Medical care is open to
everybody: a medical point requires no receipt and no valid token, whatever the colour. After the end of the emergency
no point requires anything.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.gateway.verifications import receipts
from shared.core.actors import Actor, Role
from shared.crypto.code_tokens import BadToken
from shared.problems import LocalizedText, NotFound, Problem

RECEIPT_HEADER = "x-visit-receipt"
RESIDENT_HEADER = "x-fangxian-resident"


class ReceiptMissing(Problem):
    """The request has no receipt."""

    status = 403
    code = "receipt_missing"
    title = LocalizedText(zh="请先验码", en="Have your code verified first")
    fix = LocalizedText(
        zh="请先在验码点出示健康码，并在 X-Visit-Receipt 请求头中附上核验凭证",
        en="Show your code at the service point and send the receipt in the header X-Visit-Receipt",
    )


class ReceiptForeign(Problem):
    """The receipt belongs to another person or service point, or it is not valid."""

    status = 403
    code = "receipt_foreign"
    title = LocalizedText(
        zh="核验凭证不属于本人或本验码点", en="The receipt is for another person or another service point"
    )
    fix = LocalizedText(zh="请在本验码点重新验码", en="Have your code verified at this service point")


class ReceiptExpired(Problem):
    """The receipt was valid, but has expired."""

    status = 403
    code = "receipt_expired"
    title = LocalizedText(zh="核验凭证已过期", en="The receipt has expired")
    fix = LocalizedText(zh="请重新验码", en="Have your code verified again")


class Point(NamedTuple):
    """A service point that protects a service."""

    id: UUID
    upstream_url: str | None
    """Where the gateway forwards requests; None if only reverse proxies use the decision."""
    medical: bool


FindPoint = Callable[[str], Awaitable[Point | None]]
"""Finds the point of a slug, if it protects a service. Raises `Unavailable` if the database does not answer."""

Remembered = Callable[[str], Point | None]
"""Returns the cached point of a slug, as it was at the last query."""

Secrets = Callable[[], Mapping[bytes, bytes]]
"""Returns the HMAC secrets of receipts by key id."""


class Admission(NamedTuple):
    """A positive decision."""

    point: Point
    resident_id: UUID | None
    """The resident. None if the point requires no token and the caller sent no valid one."""


@dataclass(frozen=True)
class ReceiptCheck:
    """Decides who may reach a protected service."""

    find: FindPoint
    secrets: Secrets
    is_over: Callable[[], bool] = lambda: False
    remembered: Remembered = lambda _: None

    async def check(self, identify: Callable[[], Actor], slug: str, receipt: str | None, now: datetime) -> Admission:
        """Decide a request to the point of a slug. `identify` authenticates the caller or raises.

        Raises Unauthenticated, NotFound, a problem of the receipt, or Unavailable if the point cannot be looked up.
        """
        point = await self._point(slug)
        if point is not None and self._is_free(point):
            return Admission(point, resident_of(identify))
        actor = identify()
        if point is None:
            raise NotFound()
        return Admission(point, check(receipt, actor=actor, point_id=point.id, secrets=self.secrets(), now=now))

    async def _point(self, slug: str) -> Point | None:
        """Find the point. If the database is away, a cached medical point still lets everybody through."""
        try:
            return await self.find(slug)
        except Exception:
            point = self.remembered(slug)
            if point is not None and self._is_free(point):
                return point
            raise

    def _is_free(self, point: Point) -> bool:
        return point.medical or self.is_over()


def resident_of(identify: Callable[[], Actor]) -> UUID | None:
    """Return the resident of the caller's token, or None without a valid token."""
    try:
        return identify().resident_id
    except Exception:  # access to care must not depend on the token or on the keys of its issuer
        return None


def check(text: str | None, *, actor: Actor, point_id: UUID, secrets: Mapping[bytes, bytes], now: datetime) -> UUID:
    """Verify a receipt and return its resident, who must be the caller or a dependant. It must be of this point."""
    if not text:
        raise ReceiptMissing()
    try:
        receipt = receipts.read(text, secrets, now)
    except BadToken as bad:
        raise (ReceiptExpired() if bad.fault == "expired" else ReceiptForeign()) from None
    is_theirs = actor.role is Role.RESIDENT and receipt.resident_id in actor.residents
    if not is_theirs or receipt.point_id != point_id:
        raise ReceiptForeign()
    return receipt.resident_id
