"""Pure rules of erasures: when a request is carried out, and why data stay until then.

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
        zh="您的档案已注销，将在下一次清理时删除；其他记录保存期满即删除。",
        en="The record is closed. It is deleted by the next purge, and other records when their retention periods end.",
    ),
    "when_closed": Why(
        zh="疫情防控期间，居住在本辖区人员的登记信息依法留存（《个人信息保护法》第十三条第一款第四项）；"
        "您的申请已记录，迁出或应急状态结束后即执行。",
        en="During the emergency the law allows the district to keep records of its residents (Personal Information "
        "Protection Law, article 13, item 4). Your request is recorded, and is carried out when you move away or the "
        "emergency ends.",
    ),
    "when_released": Why(
        zh="有权机关已要求保全您的数据，保全解除后即执行您的申请（《个人信息保护法》第四十七条第二款）。",
        en="An authority has ordered that your data be kept. Your request is carried out when that order ends "
        "(Personal Information Protection Law, article 47).",
    ),
}


def outcome_of(*, closed: bool, held: bool) -> Outcome:
    """Return when a request is carried out. A legal hold comes first, then whether the person still lives here."""
    if held:
        return "when_released"
    return "removed_soon" if closed else "when_closed"
