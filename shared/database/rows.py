"""The rows of every table of things: their types, their names, and what each has."""

import importlib
import pkgutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Index, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from shared.core.ids import new_id
from shared.core.settings import Service

Code = Text(collation="C")
"""The type of region columns. They are compared byte by byte, so that a scope is one range of an index."""

TYPES: Mapping[Any, Any] = {
    str: Text,
    int: BigInteger,
    bytes: LargeBinary,
    UUID: PG_UUID(as_uuid=True),
    datetime: DateTime(timezone=True),
}
"""The default column types of Python types."""

NAMING = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(constraint_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


def metadata_of(service: Service) -> MetaData:
    """Build the metadata for the tables of one service's schema."""
    return MetaData(schema=service, naming_convention=NAMING)


def declare_tables(service: Service) -> None:
    """Import the `tables.py` of every capability of a service, so that all tables are known in every process.

    Otherwise a worker would not know encrypted columns that only routes use, and would leave them under old keys.
    """
    package = importlib.import_module(f"services.{service}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)


class Row:
    """The base of tables of domain records: an id, an order, a version, a region.

    `seq` is the order in which the server wrote the rows. Lists are read by region and then by `seq`, with the index
    that is added here; a scope is one range of this index. `version` counts the changes. Statements that change many
    rows must increment it themselves.
    """

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-10)
    seq: Mapped[int] = mapped_column(Identity(always=True), unique=True, sort_order=-9)
    version: Mapped[int] = mapped_column(default=1, server_default="1", sort_order=-8)
    region: Mapped[str] = mapped_column(Code, sort_order=-7)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now(), sort_order=91)

    __mapper_args__: ClassVar[Mapping[str, Any]] = {"version_id_col": version, "eager_defaults": True}

    @classmethod
    def __table_cls__(cls, name: str, metadata: MetaData, *parts: Any, **options: Any) -> Table:
        table = Table(name, metadata, *parts, **options)
        Index(None, table.c.region, table.c.seq)
        return table

    def __init__(self, **values: Any) -> None:
        # Set the id first, because encrypted columns are bound to it.
        self.id = values.pop("id", None) or new_id()
        for name, value in values.items():
            setattr(self, name, value)
