"""Who acts: roles, and the actor on whose behalf one transaction runs."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self
from uuid import UUID

from shared.regions import NOTHING, Range, range_of

DatabaseRole = Literal["staff", "resident", "machine", "door", "system"]


class Role(enum.Flag):
    """The roles of the field. They combine: `Role.SAMPLER | Role.COMMAND` is a set of two."""

    RESIDENT = enum.auto()
    GRID_WORKER = enum.auto()
    COMMUNITY_OFFICER = enum.auto()
    VILLAGE_DOCTOR = enum.auto()
    SAMPLER = enum.auto()
    LABORATORY = enum.auto()
    DESK_120 = enum.auto()
    HOSPITAL = enum.auto()
    DOORKEEPER = enum.auto()
    CHECKPOINT = enum.auto()
    COMMAND = enum.auto()
    SUPERVISOR = enum.auto()
    MUNICIPAL = enum.auto()
    AUDITOR = enum.auto()
    SERVICE = enum.auto()
    """Another of our own services, for the feed. No token from outside carries it."""

    CASEWORKERS = GRID_WORKER | COMMUNITY_OFFICER | VILLAGE_DOCTOR | SAMPLER | COMMAND | SUPERVISOR
    """Who works with people's data. An auditor sees what was done with it."""
    STAFF = CASEWORKERS | AUDITOR
    MACHINE = LABORATORY | DESK_120 | HOSPITAL | MUNICIPAL
    DOOR = DOORKEEPER | CHECKPOINT
    PEOPLE = RESIDENT | STAFF | DOOR
    ANYONE = PEOPLE | MACHINE

    @classmethod
    def named(cls, name: str) -> Self:
        """The single role of that name (`grid_worker`); KeyError if there is none."""
        role = cls[name.upper()]
        if role.bit_count() != 1:
            raise KeyError(name)
        return role

    def bit_count(self) -> int:
        """How many single roles this set holds."""
        return self.value.bit_count()

    @property
    def label(self) -> str:
        """The name as tokens carry it: `grid_worker`."""
        return str(self.name).lower()

    @property
    def database_role(self) -> DatabaseRole:
        """Whose row-level policy a single role works under."""
        if self in Role.STAFF:
            return "staff"
        if self in Role.MACHINE:
            return "machine"
        if self in Role.DOOR:
            return "door"
        return "resident" if self is Role.RESIDENT else "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """One person or machine, acting in one role, within one scope.

    `range` is the half-open range of region codes staff may see. `residents` are the people a resident may act for:
    the resident first, then at most 8 dependants. `party` is whose tubes, episodes or lists a machine may see; for a
    door it is its service point, for staff the organisation they act for, which residents read.
    """

    subject: str
    role: Role
    range: Range = NOTHING
    residents: tuple[UUID, ...] = ()
    party: str = ""
    purpose: str = ""
    request_id: str = ""

    @property
    def resident_id(self) -> UUID | None:
        """The resident who acts, if one does."""
        return self.residents[0] if self.residents else None

    @property
    def machine(self) -> str:
        """The party of a machine; empty for everybody else."""
        return self.party if self.role in Role.MACHINE else ""

    def during(self, request_id: str) -> Self:
        """The same actor in another request."""
        return replace(self, request_id=request_id)

    def claims(self) -> dict[str, Any]:
        """The actor in plain values, as tokens and jobs carry it; but for the request."""
        return {
            "sub": self.subject,
            "role": self.role.label,
            "range": list(self.range),
            "residents": [str(resident) for resident in self.residents],
            "party": self.party,
            "purpose": self.purpose,
        }

    @classmethod
    def claimed(cls, claims: Mapping[str, Any]) -> Self:
        """The actor of claims. Raises KeyError, TypeError or ValueError."""
        low, high = claims["range"]
        return cls(
            subject=claims["sub"],
            role=Role.named(claims["role"]),
            range=(low, high),
            residents=tuple(UUID(resident) for resident in claims["residents"]),
            party=claims["party"],
            purpose=claims["purpose"],
        )


def system(service: str, scope: str = "") -> Actor:
    """A service's own worker, acting under a region scope (the whole by default)."""
    return Actor(subject=f"service:{service}", role=Role.SERVICE, range=range_of(scope))
