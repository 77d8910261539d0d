"""The base classes of this service's tables."""

from sqlalchemy.orm import DeclarativeBase

from shared.database import rows
from shared.database.common_tables import add_common_tables


class Base(DeclarativeBase):
    """All tables of the schema `observation`."""

    metadata = rows.metadata_of("observation")
    type_annotation_map = rows.TYPES


class Row(rows.Row, Base):
    """A table with id, sequence number, version and region."""

    __abstract__ = True


add_common_tables(Base.metadata)
