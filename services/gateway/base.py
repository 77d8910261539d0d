"""Base classes of this service's tables."""

from sqlalchemy.orm import DeclarativeBase

from shared.database import rows
from shared.database.common_tables import add_common_tables


class Base(DeclarativeBase):
    """All tables of the schema `gateway`."""

    metadata = rows.metadata_of("gateway")
    type_annotation_map = rows.TYPES


class Row(rows.Row, Base):
    """Base of tables with an id, a sequence number, a version and a region."""

    __abstract__ = True


add_common_tables(Base.metadata)
