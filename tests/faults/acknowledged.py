"""What was acknowledged: by this alone the check afterwards knows what must be there, and that nothing else may be."""

from dataclasses import dataclass, field
from typing import Any

from deploy.demo.population import Person


@dataclass
class Acknowledged:
    """Everything that some party was told is done, since the installation was made."""

    regions: set[str] = field(default_factory=set)
    people: dict[str, Person] = field(default_factory=dict)
    """By resident id."""
    homes: dict[str, str] = field(default_factory=dict)
    """Where each resident lives, by the last move that was acknowledged."""
    campaigns: dict[str, str] = field(default_factory=dict)
    """Its region, by id."""
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Records as devices made them, by their id; with the exception they were kept with."""
    seals: dict[str, set[str]] = field(default_factory=dict)
    """The manifest, by tube number."""
    received: set[str] = field(default_factory=set)
    results: dict[str, str] = field(default_factory=dict)
    """The outcome, by tube number."""
    boxes: set[str] = field(default_factory=set)
    visits: dict[str, str] = field(default_factory=dict)
    """The verdict, by scan id."""
    messages: dict[str, str] = field(default_factory=dict)
    """Our id, by the sender's."""
    fevers: dict[str, str] = field(default_factory=dict)
    """The referral, by resident id."""
    # What must have followed from it.
    retests: dict[str, str] = field(default_factory=dict)
    """The state of each person's retest, with its outcome once it is settled."""
    orders: dict[str, str] = field(default_factory=dict)
    """The kind, by resident id."""
    referrals: dict[str, str] = field(default_factory=dict)
    """The state, by resident id."""
    colours: dict[str, str] = field(default_factory=dict)
    """Of who is not green."""
