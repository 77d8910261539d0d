"""Audit entries of sign-ins."""

from dataclasses import replace
from uuid import UUID

from services.gateway.accounts.tables import subject_of
from shared.audit.kinds import Kind
from shared.database.unit_of_work import UnitOfWork


def trace(uow: UnitOfWork, what: str, account_id: UUID) -> None:
    """Record an act of a person on their own account. The actor is the account, because the service runs the work."""
    actor = replace(uow.actor, subject=subject_of(account_id))
    uow.audit(kind=Kind.SIGN_IN, subjects=[account_id], reason=what, actor=actor)
