"""Routes of results (T6)."""

from services.testing.answers import LanguageAsked
from services.testing.results import use_cases
from services.testing.results.schemas import NewResults, ResultAnswers, Revision
from services.testing.tubes.routes import TubeId
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

router = Router(prefix="/testing/v1", tags=["results"])


@router.post("/results", role=Role.LABORATORY, client_ids=True)
async def add_results(batch: NewResults, uow: Uow, language: LanguageAsked) -> ResultAnswers:
    """Report up to 1,000 results, only of tubes the laboratory has received. Can be repeated.

    A higher revision corrects the earlier result and recomputes everything that followed from it. A result is `held`
    while sample records of the tube are missing: a positive takes effect at once for the known people, a negative when
    all records have arrived. Each result has its own answer; the batch itself is 200.
    """
    return ResultAnswers(items=await use_cases.add_results(uow, batch.items, language))


@router.get("/tubes/{tube_id}/results", role=Role.CASEWORKERS | Role.LABORATORY, raises=[NotFound])
async def list_results(tube_id: TubeId, uow: Uow, page: PageAsked) -> Listed[Revision]:
    """List all results of one tube, by revision. No revision is overwritten."""
    return await use_cases.list_results(uow, tube_id, page)
