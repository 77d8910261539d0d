"""The kinds of audited acts. The list is short so that everybody can read it."""

from enum import StrEnum


class Kind(StrEnum):
    """The kind of act of an entry."""

    LOOK = "look"
    """Somebody was shown personal data."""
    SEARCH = "search"
    """Somebody searched for a person, or searched the audit."""
    REVEAL = "reveal"
    """Somebody was shown data that is normally masked."""
    EXPORT = "export"
    """Data was exported as a file."""
    CHANGE = "change"
    """A record was created, changed or ended."""
    RESTRICTION = "restriction"
    """A restriction on a person was imposed or lifted."""
    SIGN_IN = "sign_in"
    """Somebody signed in or out, was refused, or was given a token."""
    GRANT = "grant"
    """Somebody gained or lost a role, or the right to act for another person."""
    APPROVAL = "approval"
    """Somebody proposed, approved or refused an act that needs two people."""
    KEYS = "keys"
    """Keys or secrets were created, changed or destroyed."""
    PURGE = "purge"
    """Data was removed permanently."""
    VISITS = "visits"
    """Visits were chained. The entry holds the hash of a batch."""
