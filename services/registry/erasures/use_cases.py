"""Use cases of erasure requests. A request is stored until the purge can carry it out."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field
from sqlalchemy import text

from services.registry.erasures import rules
from services.registry.erasures.rules import Outcome
from services.registry.residents.tables import ResidentRow
from shared.contracts.resource import Schema
from shared.core.settings import SERVICES
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Language


class Erasure(Schema):
    """A person's erasure request and its outcome."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "resident_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11",
                    "asked_at": "2022-12-20T09:00:00+08:00",
                    "outcome": "when_closed",
                    "why": rules.WHY["when_closed"].zh,
                    "remains": ["/testing/v1/retention"],
                }
            ]
        }
    )

    resident_id: UUID
    asked_at: datetime
    outcome: Outcome
    why: str
    remains: list[str] = Field(description="Where each service publishes how long it keeps a person's data.")


STORE_REQUEST = text("""
    UPDATE residents SET erasure_asked_at = coalesce(erasure_asked_at, :now) WHERE id = :id RETURNING erasure_asked_at
""")
SELECT_IS_HELD = text("SELECT is_held(:id) AS held")


async def ask_for_erasure(uow: UnitOfWork, resident_id: UUID, language: Language) -> Erasure:
    """Store a person's erasure request, and return its outcome."""
    row = await uow.get(ResidentRow, resident_id)
    (request,) = await uow.rows(STORE_REQUEST, id=resident_id, now=uow.now)
    (hold,) = await uow.rows(SELECT_IS_HELD, id=resident_id)
    outcome = rules.outcome_of(closed=row.state == "closed", held=hold["held"])
    uow.record_access([resident_id])
    return Erasure(
        resident_id=resident_id,
        asked_at=request["erasure_asked_at"],
        outcome=outcome,
        why=getattr(rules.WHY[outcome], language[:2]),
        remains=[f"/{service}/v1/retention" for service in SERVICES],
    )
