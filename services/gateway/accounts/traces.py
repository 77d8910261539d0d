"""The one place that says what a sign-in leaves in the audit."""

from dataclasses import replace
from uuid import UUID

from services.gateway.accounts.tables import subject_of
from shared.audit.kinds import Kind
from shared.work import Work


def trace(work: Work, what: str, account_id: UUID) -> None:
    """Note that this work is a person's own act upon their account: the transaction is the service's own."""
    actor = replace(work.actor, subject=subject_of(account_id))
    work.audit(kind=Kind.SIGN_IN, subjects=[account_id], reason=what, actor=actor)
