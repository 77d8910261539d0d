"""The audit entries of one transaction. Pure: collected during the transaction and written before its commit."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from shared.audit.kinds import Kind
from shared.core.actors import Actor


class Act(NamedTuple):
    """One act of an actor. Equal acts of one transaction share one entry."""

    kind: Kind
    reason: str
    actor: Actor
    purpose: str = ""
    """The stated purpose. If it is empty, the purpose of the actor applies."""


@dataclass
class Trail:
    """The entries of one transaction.

    By default one entry of the operation's kind lists everybody whose data was accessed. If nobody's data was accessed,
    there is no entry, unless the operation always writes one.
    """

    actor: Actor
    kind: Kind = Kind.LOOK
    always: bool = False
    target: str = ""
    """The requested path, or the path of the created resource. It never contains personal data."""
    _seen: set[UUID] = field(default_factory=set)
    _acts: dict[Act, set[UUID]] = field(default_factory=dict)

    def ends(self, kind: Kind | None, target: str) -> None:
        """Record the success of the operation, and the kind of its entry if it declares one."""
        self.kind, self.always, self.target = kind or self.kind, kind is not None, target

    def record_access(self, ids: Iterable[UUID]) -> None:
        """Record whose data is read or changed."""
        self._seen.update(ids)

    def add(self, kind: Kind, subjects: Iterable[UUID], reason: str, actor: Actor | None, purpose: str = "") -> None:
        """Record an act of another kind than the operation's."""
        self._acts.setdefault(Act(kind, reason, actor or self.actor, purpose), set()).update(subjects)

    def entries(self) -> list[tuple[Act, set[UUID]]]:
        """Return the entries to write. A subject of a separate act is not listed again in the operation's entry."""
        left = self._seen.difference(*self._acts.values())
        own = [(Act(self.kind, "", self.actor), left)] if left or (self.always and not self._acts) else []
        return [*own, *self._acts.items()]

    def mark(self) -> tuple[set[UUID], dict[Act, set[UUID]]]:
        """Return a copy of the current records."""
        return set(self._seen), {act: set(subjects) for act, subjects in self._acts.items()}

    def restore(self, mark: tuple[set[UUID], dict[Act, set[UUID]]]) -> None:
        """Discard what was recorded since a mark, because it was rolled back."""
        self._seen, self._acts = mark
