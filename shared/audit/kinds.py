"""What kinds of acts the audit knows. A short list, so that everybody can read it."""

from enum import StrEnum


class Kind(StrEnum):
    """What an entry is about."""

    LOOK = "look"
    """Somebody was shown personal data."""
    SEARCH = "search"
    """Somebody looked for a person, or in the audit itself."""
    REVEAL = "reveal"
    """Somebody was shown in full what is masked otherwise."""
    EXPORT = "export"
    """Data left as a file."""
    CHANGE = "change"
    """Something was made, changed or ended."""
    RESTRICTION = "restriction"
    """What a person may do was restricted, or set free again."""
    SIGN_IN = "sign_in"
    """Somebody signed in or out, was refused, or was given a token."""
    GRANT = "grant"
    """Somebody was given a role or the right to act for another, or lost it."""
    APPROVAL = "approval"
    """Somebody proposed, approved or refused what needs two people."""
    KEYS = "keys"
    """Keys or secrets were made, changed or destroyed."""
    PURGE = "purge"
    """Data was removed for good."""
    VISITS = "visits"
    """Visits were sealed: the entry is the seal of a batch."""
