"""Priority classes of requests under overload. Pure functions of method and path."""

import enum
import re


class PriorityClass(enum.IntEnum):
    """Priority classes, the most urgent first."""

    CARE = 0
    """Medical care, fever referrals, verifications, one's own code and sign-in: served before everything else."""
    ORDINARY = 1
    REPORT = 2
    """Counts, lists and files for offices: they can wait."""
    CROWD = 3
    """Unauthenticated requests for care beyond the limit of their address: a few at a time."""


_CARE = (
    "(POST|GET) /gateway/v1/(verifications|code|code.svg|hooks/[^/]+)",
    "[A-Z]+ /services/.*",
    "(GET|POST) /observation/v1/referrals(/.*)?",
    "[A-Z]+ /(oauth|sign-in)/.*",
    "POST /gateway/v1/phone-challenges",
)
_REPORT = (
    "GET /[a-z]+/v1/(.+/)?(population|counts|progress|missing|errors|deliveries|exports?|audit)",
    "(GET|POST) /registry/v1/imports(/.*)?",
    "POST /gateway/v1/policies/trials",
    "POST /[a-z]+/v1/(.+/)?(exports?|replay)",
)
_is_care, _is_report = (re.compile("|".join(f"({one})" for one in each)).fullmatch for each in (_CARE, _REPORT))


def priority_class_of(method: str, path: str) -> PriorityClass:
    """Return the priority class of a request."""
    operation = f"{method} {path}"
    if _is_care(operation):
        return PriorityClass.CARE
    return PriorityClass.REPORT if _is_report(operation) else PriorityClass.ORDINARY
