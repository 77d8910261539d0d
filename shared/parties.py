"""How the parties of machines are named: laboratories, hospitals, 120 desks and city systems. Pure.

One place says it for clients, hook sources, grants, seals and boxes.
"""

import re
from collections.abc import Mapping
from uuid import UUID

from shared.actors import Role
from shared.problems import Text

PATTERNS: Mapping[str, str] = {
    "laboratory": r"^lab-[a-z0-9-]{1,60}$",
    "hospital": r"^hospital-[a-z0-9-]{1,60}$",
    "desk_120": r"^desk[_-][a-z0-9_-]{1,60}$",
    "municipal": r"^[a-z][a-z0-9-]{1,60}$",
}
"""By role. The first three have a beginning of their own, so that no name is two parties."""

EXAMPLES: Mapping[str, str] = {
    "laboratory": "lab-jinjiang",
    "hospital": "hospital-jinjiang",
    "desk_120": "desk_120",
    "municipal": "jinjiang",
}
OWN_BEGINNING = ("laboratory", "hospital", "desk_120")

MALFORMED = Text(
    zh="“{role}”的 party 应形如 {example}（小写字母、数字、连字符）",
    en="The party of a {role} is written like {example}: small letters, digits, hyphens",
)
NO_POINT = Text(
    zh="“{role}”的 party 应为验码点编号（UUID），见 GET /gateway/v1/service-points",
    en="The party of a {role} is the id of a service point (a UUID): see GET /gateway/v1/service-points",
)


def fault_of(role: Role, party: str) -> tuple[Text, dict[str, str]] | None:
    """What is wrong with how the party of a machine or a door is written, and the values for the sentence."""
    if role in Role.DOOR:
        return None if point_of(party) else (NO_POINT, {"role": role.label})
    if re.fullmatch(PATTERNS[role.label], party, re.ASCII):
        return None
    return MALFORMED, {"role": role.label, "example": EXAMPLES[role.label]}


def point_of(party: str) -> UUID | None:
    """The service point that is a door's party."""
    try:
        return UUID(party)
    except ValueError:
        return None


def named_by(text: str) -> str | None:
    """The role of the machine that a text names by its form: staff may act for a laboratory, if there is such a one."""
    return next((role for role in OWN_BEGINNING if re.fullmatch(PATTERNS[role], text, re.ASCII)), None)
