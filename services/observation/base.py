"""The base classes of this service's tables."""

from sqlalchemy.orm import DeclarativeBase

from shared import db
from shared.house_tables import add_house_tables


class Base(DeclarativeBase):
    """All tables of the schema `observation`."""

    metadata = db.metadata_of("observation")
    type_annotation_map = db.TYPES


class Row(db.Row, Base):
    """A table with id, sequence number, version and region."""

    __abstract__ = True


add_house_tables(Base.metadata)
