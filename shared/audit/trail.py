"""What one transaction leaves in the audit. Pure: gathered while the work goes on, written when it commits."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from shared.actors import Actor
from shared.audit.kinds import Kind


class Act(NamedTuple):
    """One thing done, by somebody: all that is done alike in one transaction is one entry."""

    kind: Kind
    reason: str
    actor: Actor
    purpose: str = ""
    """What it was stated to be for; that of the actor if empty."""


@dataclass
class Trail:
    """The entries of one transaction.

    Without anything said, one entry of the operation's own kind holds all whose data was seen; there is none where
    nobody's was, unless the operation leaves an entry always.
    """

    actor: Actor
    kind: Kind = Kind.LOOK
    always: bool = False
    target: str = ""
    """What was asked for, or what came to be: a path, which never holds personal data."""
    _seen: set[UUID] = field(default_factory=set)
    _acts: dict[Act, set[UUID]] = field(default_factory=dict)

    def ends(self, kind: Kind | None, target: str) -> None:
        """The operation has succeeded: it leaves an entry of its kind, if it has one of its own."""
        self.kind, self.always, self.target = kind or self.kind, kind is not None, target

    def saw(self, ids: Iterable[UUID]) -> None:
        """Note whose data is looked at or changed."""
        self._seen.update(ids)

    def add(self, kind: Kind, subjects: Iterable[UUID], reason: str, actor: Actor | None, purpose: str = "") -> None:
        """Note an act of a kind of its own."""
        self._acts.setdefault(Act(kind, reason, actor or self.actor, purpose), set()).update(subjects)

    def entries(self) -> list[tuple[Act, set[UUID]]]:
        """What is to be written. Whoever is named by an act of its own is not named a second time."""
        left = self._seen.difference(*self._acts.values())
        own = [(Act(self.kind, "", self.actor), left)] if left or (self.always and not self._acts) else []
        return [*own, *self._acts.items()]

    def mark(self) -> tuple[set[UUID], dict[Act, set[UUID]]]:
        """What is noted by now."""
        return set(self._seen), {act: set(subjects) for act, subjects in self._acts.items()}

    def restore(self, mark: tuple[set[UUID], dict[Act, set[UUID]]]) -> None:
        """Forget what was noted since a mark: it was undone."""
        self._seen, self._acts = mark
