"""What an import's job looks like in the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared.http.described import DescribedBy
from shared.jobs import Job


class ImportResult(BaseModel):
    """How many rows had which outcome so far. A count that is not there is 0."""

    model_config = ConfigDict(frozen=True)

    created: int = Field(0, description="People who were not on record.")
    updated: int = Field(0, description="People on record of whom the file says something else.")
    unchanged: int = Field(0, description="People on record as the file has them.")
    failed: int = Field(0, description="Rows that were not taken. The file of errors has them.")
    ignored: int = Field(0, description="Rows that say of themselves that they stand for a person of another row.")


class ImportJob(Job):
    """An import: its state, how far it is, and what came of its rows."""

    result: ImportResult  # type: ignore[assignment]  # the document's only: at run time it is any job's


IMPORT_JOB: Any = Annotated[Job, DescribedBy(lambda: ImportJob)]
