"""Routes of population counts (R3, article 3)."""

from datetime import date
from typing import Annotated

from fastapi import Query

from services.registry.population import use_cases
from services.registry.population.schemas import Population
from shared.contracts.times import Day
from shared.core.actors import Role
from shared.http.router import Router, Uow
from shared.problems import NotFound

router = Router(prefix="/registry/v1/population", tags=["population"])


@router.get("", role=Role.STAFF, raises=[NotFound])
async def count_population(
    uow: Uow,
    region: Annotated[
        str,
        Query(
            pattern=r"^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{14}|[0-9]{16})$",
            description="A region within the caller's scope.",
            examples=["350582005"],
        ),
    ],
    as_of: Annotated[
        Day | None,
        Query(
            ge=date(1900, 1, 1), description="A past day (Asia/Shanghai). People are counted as they were at its end."
        ),
    ] = None,
) -> Population:
    """Count the people of a region, by its parts and by tags (底数清).

    Source: article 3.
    """
    return await use_cases.count_population(uow, region, as_of)
