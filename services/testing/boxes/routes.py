"""Routes of boxes (T5)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.testing.boxes import use_cases
from services.testing.boxes.rules import BoxState
from services.testing.boxes.schemas import Box, NewBox, Reception
from services.testing.laboratories.use_cases import LaboratoryUnknown
from services.testing.problems import BoxMoveForbidden, BoxTubesUnfit
from services.testing.tubes.routes import FIELD
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/testing/v1/boxes", tags=["boxes"])

BoxId = Annotated[UUID, Path(description="Id of a box.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d11"])]


@router.post("", role=FIELD, raises=[BoxTubesUnfit, LaboratoryUnknown], status=201, location="/testing/v1/boxes/{id}")
async def pack_box(new: NewBox, uow: Uow) -> Box:
    """Pack sealed tubes into a box for one laboratory."""
    return await use_cases.pack_box(uow, new)


@router.post("/{box_id}/pick-up", role=FIELD, raises=[NotFound, BoxMoveForbidden])
async def pick_up_box(box_id: BoxId, uow: Uow) -> Box:
    """Confirm that a courier has taken a box."""
    return await use_cases.pick_up_box(uow, box_id)


@router.post("/{box_id}/depart", role=FIELD, raises=[NotFound, BoxMoveForbidden])
async def send_box(box_id: BoxId, uow: Uow) -> Box:
    """Confirm the departure of a box. Its tubes are then in transit."""
    return await use_cases.send_box(uow, box_id)


@router.post("/{box_id}/receive", role=Role.LABORATORY, raises=[NotFound, BoxMoveForbidden])
async def receive_box(box_id: BoxId, reception: Reception, uow: Uow) -> Box:
    """Receive a box at its laboratory, with the tubes found in it.

    The tubes found are compared with those packed. A missing tube does not delay the others and can be received later.
    A tube that arrives after the time limit since its first swab is listed as late.
    """
    return await use_cases.receive_box(uow, box_id, reception)


@router.get("/{box_id}", role=Role.CASEWORKERS | Role.LABORATORY, raises=[NotFound])
async def get_box(box_id: BoxId, uow: Uow) -> Box:
    """Show one box and the tubes missing from it."""
    return await use_cases.get_box(uow, box_id)


@router.get("", role=Role.CASEWORKERS | Role.LABORATORY)
async def list_boxes(
    uow: Uow,
    page: PageAsked,
    state: Annotated[BoxState | None, Query(description="Only those in this state.")] = None,
) -> Listed[Box]:
    """List boxes in the caller's region; a laboratory sees its own."""
    return await use_cases.list_boxes(uow, state, page)
