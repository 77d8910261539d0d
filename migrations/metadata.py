"""What the models say there should be, and whether the database agrees."""

import importlib
import re
from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData

from shared.settings import Service

PARTITION = re.compile(r"_(\d{8}|default)$")


def metadata_of_service(service: Service) -> MetaData:
    """All tables of a service, as its models declare them."""
    importlib.import_module(f"services.{service}.app")  # which imports every capability, and so every table
    found: MetaData = importlib.import_module(f"services.{service}.base").Base.metadata
    return found


def is_ours(service: Service) -> Callable[..., bool]:
    """Which objects of the database are compared: the service's schema without its partitions."""

    def include(thing: Any, name: str | None, kind: str, reflected: bool, _: Any) -> bool:
        if kind == "table":
            return bool(thing.schema == service and name != "alembic_version" and not PARTITION.search(name or ""))
        return not (kind == "index" and reflected and PARTITION.search(thing.table.name))

    return include


def differences(connection: Connection, service: Service) -> list[Any]:
    """Where models and migrated schema disagree: the empty list when all is well."""
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
    return list(compare_metadata(context, metadata_of_service(service)))
