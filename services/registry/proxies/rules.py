"""Pure rules of proxies: a guardian has at most 8 dependants, a dependant at most 3 guardians (family codes, Xi'an)."""

MOST_DEPENDANTS = 8
MOST_GUARDIANS = 3


def has_room(dependants: int, guardians: int) -> bool:
    """Return whether a guardian with so many dependants and a dependant with so many guardians can have one more."""
    return dependants < MOST_DEPENDANTS and guardians < MOST_GUARDIANS
