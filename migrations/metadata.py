"""What the models say there should be, and whether the database agrees."""

import importlib
import re
from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, MetaData, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from shared.core.settings import Service
from shared.database.rows import declare_tables

PARTITION = re.compile(r"_(\d{8}|default)$")


def metadata_of_service(service: Service) -> MetaData:
    """All tables of a service, as its models declare them."""
    declare_tables(service)
    found: MetaData = importlib.import_module(f"services.{service}.base").Base.metadata
    return found


def is_ours(service: Service) -> Callable[..., bool]:
    """Which objects of the database are compared: the service's schema without its partitions."""

    def include(thing: Any, name: str | None, kind: str, reflected: bool, _: Any) -> bool:
        if kind == "table":
            return bool(thing.schema == service and name != "alembic_version" and not PARTITION.search(name or ""))
        return not (kind == "index" and reflected and PARTITION.search(thing.table.name))

    return include


def differences(connection: Connection, service: Service) -> list[str]:
    """Where models and migrated schema disagree, each as a sentence: the empty list when all is well.

    Of CHECK constraints the names are compared: the database writes their conditions down in its own words.
    """
    metadata = metadata_of_service(service)
    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_object": is_ours(service),
            "compare_type": True,
            "compare_server_default": False,
            "version_table_schema": service,
        },
    )
    return [*map(_describe, compare_metadata(context, metadata)), *_checks(connection, metadata)]


def _describe(difference: Any) -> str:
    """A difference; what the migration lacks is given as SQL that it can begin with."""
    kind, thing = difference[0], difference[-1]
    if kind == "add_table":
        return (
            "the migrations lack" + _sql(CreateTable(thing)) + "".join(_sql(CreateIndex(one)) for one in thing.indexes)
        )
    if kind == "add_index":
        return "the migrations lack" + _sql(CreateIndex(thing))
    return f"models and migrations disagree: {difference}"


def _sql(statement: CreateTable | CreateIndex) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return f"\n{str(statement.compile(dialect=dialect)).strip()};"


CHECKS = text(r"""
    SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
    WHERE contype = 'c' AND relnamespace = CAST(:service AS regnamespace) AND NOT relispartition
      AND conname NOT LIKE '%\_check'  -- PostgreSQL's own name, of one that nobody named
""")


def _checks(connection: Connection, metadata: MetaData) -> list[str]:
    found = connection.execute(CHECKS, {"service": metadata.schema})
    migrated = {(row.relname, row.conname) for row in found}
    modelled = {
        (table.name, str(one.name))
        for table in metadata.tables.values()
        for one in table.constraints
        if isinstance(one, CheckConstraint)
    }
    return [
        *(f"the migrations lack CONSTRAINT {name} CHECK of {table}" for table, name in sorted(modelled - migrated)),
        *(f"the models lack CheckConstraint {name} of {table}" for table, name in sorted(migrated - modelled)),
    ]
