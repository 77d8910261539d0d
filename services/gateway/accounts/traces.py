"""The one place that says what a sign-in leaves in the audit."""

from dataclasses import replace
from uuid import UUID

from services.gateway.accounts.tables import subject_of
from shared.work import Work


def trace(work: Work, kind: str, account_id: UUID) -> None:
    """Note that this work is a person's own act upon their account."""
    # The transaction has begun as the service's own; only what the audit says of it is changed.
    work.actor = replace(work.actor, subject=subject_of(account_id))
    work.operation = kind
    work.saw([account_id])
