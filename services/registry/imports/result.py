"""The schema of an import's job in the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared.http.described import DescribedBy
from shared.jobs.queue import Job


class ImportResult(BaseModel):
    """The number of rows by outcome so far. A missing count is 0."""

    model_config = ConfigDict(frozen=True)

    created: int = Field(0, description="People who were not on record.")
    updated: int = Field(0, description="People on record whose data changed.")
    unchanged: int = Field(0, description="People on record with the same data as in the file.")
    failed: int = Field(0, description="Rows that were not imported. The error file contains them.")
    ignored: int = Field(0, description="Rows marked as duplicates of another row.")


class ImportJob(Job):
    """An import: its state, progress and result."""

    result: ImportResult  # type: ignore[assignment]  # the document's only: at run time it is any job's


IMPORT_JOB: Any = Annotated[Job, DescribedBy(lambda: ImportJob)]
