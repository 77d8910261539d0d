"""Names of grants for the choice on the sign-in page: 采样员 · 沙塘社区居委会 · 沙塘采样点.

The registry has the names of regions. It is called as the person, for the regions of their own grants. While it is
away, the code of the region is shown.
"""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import structlog

from services.gateway.accounts.tables import AccountRow
from services.gateway.grants.tables import GrantRow
from services.gateway.issuer.messages import ROLES, WHOLE
from services.gateway.points.tables import PointRow
from shared.core.actors import Role
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language, Problem
from shared.runtime.context import ServiceContext

log = structlog.get_logger()

ASK_SECONDS = 2.0
POINT_ROLES = frozenset({Role.DOORKEEPER.label, Role.CHECKPOINT.label})


async def regions_named(context: ServiceContext, account: AccountRow, grants: Sequence[GrantRow]) -> dict[str, str]:
    """Return the names of the regions of grants, by code."""
    by_region = {grant.region: grant for grant in grants if grant.region}
    names = await asyncio.gather(*(_name_of(context, account, grant) for grant in by_region.values()))
    return dict(zip(by_region, names, strict=True))


async def _name_of(context: ServiceContext, account: AccountRow, grant: GrantRow) -> str:
    path = f"/registry/v1/regions/{grant.region}"
    deadline = time.monotonic() + ASK_SECONDS
    try:
        answer = await context.service_clients.call(
            "registry", "GET", path, grant.actor(account.subject), deadline=deadline
        )
        return str(answer.json()["name"]) if answer.status_code == 200 else grant.region
    except (Problem, ValueError, KeyError) as error:
        log.warning("sign_in.region_unnamed", region=grant.region, error=type(error).__name__)
        return grant.region


async def points_named(uow: UnitOfWork, grants: Sequence[GrantRow]) -> dict[str, str]:
    """Return the names of the service points of doorkeeper and checkpoint grants, by party."""
    names = {}
    for grant in grants:
        if grant.role in POINT_ROLES:
            try:
                point = await uow.session.get(PointRow, UUID(grant.party))
            except ValueError:
                continue
            if point is not None:
                names[grant.party] = point.name
    return names


def to_text(grant: GrantRow, language: Language, regions: dict[str, str], points: dict[str, str]) -> str:
    """Return the name of a grant: role, region and organisation."""
    role = ROLES[grant.role].render(language) if grant.role in ROLES else grant.role
    region = regions.get(grant.region, grant.region) if grant.region else WHOLE.render(language)
    return " · ".join(part for part in (role, region, points.get(grant.party, grant.party)) if part)
