"""Who may act for whom: a guardian for 8 dependants at most, a dependant by 3 guardians (family codes, Xi'an). Pure."""

MOST_DEPENDANTS = 8
MOST_GUARDIANS = 3


def has_room(dependants: int, guardians: int) -> bool:
    """Whether a guardian of so many may take on one more, who has so many guardians."""
    return dependants < MOST_DEPENDANTS and guardians < MOST_GUARDIANS
