"""Erasures: what a person can ask to be removed, and what stays, on whose word. Pure.

Source: Personal Information Protection Law, articles 13 (first paragraph, item 4) and 47.
"""

from typing import Literal, NamedTuple

Outcome = Literal["removed_soon", "when_closed", "when_released"]


class Why(NamedTuple):
    """A reason in both languages."""

    zh: str
    en: str


WHY: dict[Outcome, Why] = {
    "removed_soon": Why(
        zh="档案已注销，将在下一次清理时删除；其他记录到期即删。",
        en="The record is closed: it is removed with the next purge, and other records when their periods end.",
    ),
    "when_closed": Why(
        zh="疫情防控期间，居住在本辖区人员的登记信息依法留存（《个人信息保护法》第十三条第一款第四项）；"
        "您的申请已记录，迁出或应急状态结束后即执行。",
        en="While the emergency lasts, the law lets the district keep who lives in it (Personal Information Protection "
        "Law, article 13, item 4). Your request is kept, and carried out when you move away or the emergency ends.",
    ),
    "when_released": Why(
        zh="有权机关要求保全您的数据，解除后即执行（《个人信息保护法》第四十七条第二款）。",
        en="An authority has ordered your data to be kept; your request is carried out when that order ends "
        "(Personal Information Protection Law, article 47).",
    ),
}


def outcome_of(*, closed: bool, held: bool) -> Outcome:
    """What becomes of a request now: an order of an authority goes first, then whether the person lives here."""
    if held:
        return "when_released"
    return "removed_soon" if closed else "when_closed"
