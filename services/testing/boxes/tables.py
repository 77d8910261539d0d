"""Tables of boxes."""

from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.testing.base import Row
from shared.database.rows import Code


class BoxRow(Row):
    """A box of sealed tubes for one laboratory. `region` is the smallest that contains the regions of all its tubes."""

    __tablename__ = "boxes"

    laboratory: Mapped[str] = mapped_column(Code)
    state: Mapped[str] = mapped_column(Code, server_default="packed")
    tubes: Mapped[int] = mapped_column(comment="How many tubes were packed.")
    picked_up_at: Mapped[datetime | None]
    departed_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    unexpected: Mapped[list[str]] = mapped_column(
        ARRAY(Code), server_default="{}", comment="Numbers that were found in the box although nobody packed them."
    )

    __table_args__ = (
        CheckConstraint("state IN ('packed', 'picked_up', 'in_transit', 'received')", name="box_state"),
        CheckConstraint("(received_at IS NOT NULL) = (state = 'received')", name="box_received"),
        CheckConstraint("tubes > 0", name="box_tubes"),
        Index("boxes_open_idx", "laboratory", postgresql_where=text("state <> 'received'")),
    )
