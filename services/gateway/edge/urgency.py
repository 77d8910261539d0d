"""What goes first when there is more to do than can be done. Pure: decides by method and path alone."""

import enum
import re


class Urgency(enum.IntEnum):
    """Classes of requests, the most urgent first."""

    CARE = 0
    """Medical need, a fever referral, the door, one's own code and the way to it: served before everything else."""
    ORDINARY = 1
    REPORT = 2
    """Counts, lists for offices, files: they can wait."""
    CROWD = 3
    """Care for strangers whose address has sent more than its limit: a few at a time."""


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


def urgency_of(method: str, path: str) -> Urgency:
    """How urgent a request is."""
    asked = f"{method} {path}"
    if _is_care(asked):
        return Urgency.CARE
    return Urgency.REPORT if _is_report(asked) else Urgency.ORDINARY
