"""Verify the code before the service (articles 4 and 6): who may go through to a protected service.

A verification at a service point gave a receipt; the edge asks for it before it lets a request through. Seeking care is
open to everybody: a medical point asks for none, whatever the colour, and not even for a token that is good. When the
emergency is over, no point asks for anything.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.gateway.verifications import receipts
from shared.actors import Actor, Role
from shared.code_tokens import BadToken
from shared.problems import NotFound, Problem, Text

RECEIPT_HEADER = "x-visit-receipt"
RESIDENT_HEADER = "x-fangxian-resident"


class ReceiptMissing(Problem):
    """Nobody has verified the code yet."""

    status = 403
    code = "receipt_missing"
    title = Text(zh="请先验码", en="Have your code verified first")
    fix = Text(
        zh="请在验码点出示健康码，并在 X-Visit-Receipt 头中带上核验凭证",
        en="Show your code at the service point and send the receipt as X-Visit-Receipt",
    )


class ReceiptForeign(Problem):
    """The receipt is of another person or another place, or none of ours."""

    status = 403
    code = "receipt_foreign"
    title = Text(zh="核验凭证不适用于本人或此验码点", en="The receipt is for another person or another service point")
    fix = Text(zh="请在此验码点重新验码", en="Have your code verified at this service point")


class ReceiptExpired(Problem):
    """The receipt was good, some minutes ago."""

    status = 403
    code = "receipt_expired"
    title = Text(zh="核验凭证已过期", en="The receipt has expired")
    fix = Text(zh="请重新验码", en="Have your code verified again")


class Point(NamedTuple):
    """A service point that protects a service."""

    id: UUID
    upstream_url: str | None
    """Where the gateway passes requests on to; None if only reverse proxies ask for the decision."""
    medical: bool


FindPoint = Callable[[str], Awaitable[Point | None]]
"""Finds the point of a slug, if it protects a service. Raises `Unavailable` if the database is out of reach."""

Remembered = Callable[[str], Point | None]
"""The point of a slug as it was when the database was last asked."""

Secrets = Callable[[], Mapping[bytes, bytes]]
"""What receipts are sealed with, by key id."""


class Admitted(NamedTuple):
    """Somebody may go through."""

    point: Point
    resident_id: UUID | None
    """Who it is. Nobody's name where the point asks for none and the caller gave none that is good."""


@dataclass(frozen=True)
class Gate:
    """Decides who goes through."""

    find: FindPoint
    secrets: Secrets
    is_over: Callable[[], bool] = lambda: False
    remembered: Remembered = lambda _: None

    async def admit(self, identify: Callable[[], Actor], slug: str, receipt: str | None, now: datetime) -> Admitted:
        """Who goes through to which point. `identify` is what tells or refuses the caller.

        Raises Unauthenticated, NotFound, why the receipt is refused, or Unavailable if the point cannot be looked up.
        """
        point = await self._point(slug)
        if point is not None and self._is_free(point):
            return Admitted(point, resident_of(identify))
        actor = identify()
        if point is None:
            raise NotFound()
        return Admitted(point, check(receipt, actor=actor, point_id=point.id, secrets=self.secrets(), now=now))

    async def _point(self, slug: str) -> Point | None:
        """Find the point. Without the database a point of care that was known before still lets everybody through."""
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
    """The resident who calls, if they say so with a token that is good."""
    try:
        return identify().resident_id
    except Exception:  # care waits for nobody's token, whatever is wrong with it or with the keys of its issuer
        return None


def check(text: str | None, *, actor: Actor, point_id: UUID, secrets: Mapping[bytes, bytes], now: datetime) -> UUID:
    """The resident of a receipt, who must be the caller or one of their dependants, at this very point."""
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
