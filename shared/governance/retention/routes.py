"""Retention: the routes of each service."""

from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.core.settings import Service
from shared.governance.proposals.use_cases import Proposal
from shared.governance.retention import use_cases
from shared.governance.retention.use_cases import RETENTION, PeriodProposed, Retention
from shared.http.router import Router, Uow
from shared.problems import NotFound


def retention_router(service: Service) -> Router:
    """Build the routes of one service's retention."""
    router = Router(prefix=f"/{service}/v1/retention", tags=["retention"])

    @router.get("", role=Role.PEOPLE | Role.MACHINE)
    async def get_retention(uow: Uow) -> Retention:
        """Show how long each kind of data is kept, by whose decision, and what was deleted in the last year.

        Everybody may read it. Source: Personal Information Protection Law, articles 17 and 19.
        """
        return await use_cases.get_retention(uow)

    @router.post(
        "",
        role=Role.COMMAND,
        audit=Kind.APPROVAL,
        status=201,
        location=f"/{service}/v1/proposals/{{id}}",
        raises=[NotFound],
        response_model=RETENTION.proposal,
    )
    async def propose_period(proposed: PeriodProposed, uow: Uow) -> Proposal:
        """Propose another retention period for one kind of data. It takes effect when a second person approves."""
        return await use_cases.propose_period(uow, proposed.period, proposed.reason)

    return router
