"""Tables of imports: the failed rows. `shared/jobs/queue.py` stores the job and its file."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Integer, func
from sqlalchemy.orm import Mapped, mapped_column

from services.registry.base import Base
from shared.database.rows import Code


class ImportErrorRow(Base):
    """One failed row as it was sent, with its problems, encrypted."""

    __tablename__ = "import_errors"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("registry.jobs.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    region: Mapped[str] = mapped_column(Code, index=True, comment="The scope of the sender of the file.")
    row_sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)

    __table_args__ = (
        {
            "comment": "Rows that were not imported, as they were sent, and why.",
        },
    )
