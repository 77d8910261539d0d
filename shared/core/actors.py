"""Roles, and the actor on whose behalf a transaction runs."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self
from uuid import UUID

from shared.core.regions import NOTHING, Range, range_of

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
    """Another service of this system. No external token can have this role."""

    CASEWORKERS = GRID_WORKER | COMMUNITY_OFFICER | VILLAGE_DOCTOR | SAMPLER | COMMAND | SUPERVISOR
    """The roles that work with people's data. An auditor only sees what was done with it."""
    STAFF = CASEWORKERS | AUDITOR
    MACHINE = LABORATORY | DESK_120 | HOSPITAL | MUNICIPAL
    DOOR = DOORKEEPER | CHECKPOINT
    PEOPLE = RESIDENT | STAFF | DOOR
    ANYONE = PEOPLE | MACHINE

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the single role with this name (`grid_worker`). Raises KeyError."""
        role = cls[name.upper()]
        if role.bit_count() != 1:
            raise KeyError(name)
        return role

    def bit_count(self) -> int:
        """Return the number of single roles in this set."""
        return self.value.bit_count()

    @property
    def label(self) -> str:
        """The name in tokens: `grid_worker`."""
        return str(self.name).lower()

    @property
    def database_role(self) -> DatabaseRole:
        """The database role whose row-level policies apply to a single role."""
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

    `range` is the half-open range of region codes that staff may see. `residents` are the people that a resident may
    act for: first the resident, then at most 8 dependants. For a machine, `party` names the organisation whose tubes,
    episodes or lists it may see. For a door it is the service point. For staff it is the organisation they act for,
    which residents can read in the audit.
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
        """The acting resident, or None if the actor is not a resident."""
        return self.residents[0] if self.residents else None

    @property
    def machine(self) -> str:
        """The party of a machine; empty for all other actors."""
        return self.party if self.role in Role.MACHINE else ""

    def during(self, request_id: str) -> Self:
        """Return the same actor with this request id."""
        return replace(self, request_id=request_id)

    def claims(self) -> dict[str, Any]:
        """Return the actor as plain values for tokens and jobs, without the request id."""
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
        """Build the actor from claims. Raises KeyError, TypeError or ValueError."""
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
    """Return the actor of a service itself, with a region scope (everything by default)."""
    return Actor(subject=f"service:{service}", role=Role.SERVICE, range=range_of(scope))
