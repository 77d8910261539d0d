"""The names of machine parties: laboratories, hospitals, 120 centres and municipal systems. Pure.

Clients, hook sources, grants, seals and boxes all use these rules.
"""

import re
from collections.abc import Mapping
from uuid import UUID

from shared.core.actors import Role
from shared.problems import LocalizedText

PATTERNS: Mapping[str, str] = {
    "laboratory": r"^lab-[a-z0-9-]{1,60}$",
    "hospital": r"^hospital-[a-z0-9-]{1,60}$",
    "desk_120": r"^desk[_-][a-z0-9_-]{1,60}$",
    "municipal": r"^[a-z][a-z0-9-]{1,60}$",
}
"""Patterns by role. The first three have distinct prefixes, so that a name cannot be two parties."""

EXAMPLES: Mapping[str, str] = {
    "laboratory": "lab-jinjiang",
    "hospital": "hospital-jinjiang",
    "desk_120": "desk_120",
    "municipal": "jinjiang",
}
OWN_BEGINNING = ("laboratory", "hospital", "desk_120")

MALFORMED = LocalizedText(
    zh="“{role}”的 party 应形如 {example}（小写字母、数字、连字符）",
    en="The party of a {role} must look like {example}: lower-case letters, digits, hyphens",
)
NO_POINT = LocalizedText(
    zh="“{role}”的 party 应为验码点编号（UUID），见 GET /gateway/v1/service-points",
    en="The party of a {role} must be the id of a service point (a UUID); see GET /gateway/v1/service-points",
)


def fault_of(role: Role, party: str) -> tuple[LocalizedText, dict[str, str]] | None:
    """Return the fault in the party of a machine or a door, with the values of its text, or None."""
    if role in Role.DOOR:
        return None if point_of(party) else (NO_POINT, {"role": role.label})
    if re.fullmatch(PATTERNS[role.label], party, re.ASCII):
        return None
    return MALFORMED, {"role": role.label, "example": EXAMPLES[role.label]}


def point_of(party: str) -> UUID | None:
    """Parse the party of a door as the id of its service point, or return None."""
    try:
        return UUID(party)
    except ValueError:
        return None


def named_by(text: str) -> str | None:
    """Return the machine role whose pattern a text matches, or None. Staff may act for a laboratory, for example."""
    return next((role for role in OWN_BEGINNING if re.fullmatch(PATTERNS[role], text, re.ASCII)), None)
