"""Insert many rows with one statement. Each column is one array, so the statement is the same for any number of rows.

The driver encodes an array value by value in Python, which took most of the time of a batch. An array is therefore sent
as a PostgreSQL array literal that is built at once (`literal`). A column with the same value in all rows is sent once.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase

WITHOUT_ESCAPES = {"UUID", "TIMESTAMP WITH TIME ZONE", "BIGINT", "INTEGER", "SMALLINT", "BOOLEAN"}
"""The types whose values have the same text in PostgreSQL and JSON."""

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def literal(values: Sequence[Any]) -> str:
    """Build an array literal of ids, days, times, numbers or booleans, for `CAST(CAST(:values AS text) AS uuid[])`.

    Use it with `unnest`, which parses it once. A condition (`= ANY(…)`) may parse it again for each row. Use it for
    texts only if none contains a control character, such as codes and type names, because JSON escapes these
    differently. Bytes become base64 texts.
    """
    return "{" + msgspec.json.encode(values)[1:-1].decode() + "}"


def insertion(
    row_type: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]], *, replace_by: Sequence[str] = ()
) -> tuple[TextClause, dict[str, Any]]:
    """Build the statement that inserts rows with equal columns, and its values. `replace_by` is the key for upserts."""
    names = tuple(rows[0])
    types = _types(row_type)
    columns = {name: _column(name, types[name], rows) for name in names}
    # The first column is always an array, because a statement without an array would insert one row.
    once = frozenset(name for name in names[1:] if _is_the_same(columns[name]))
    values = {name: _sent(column, types[name], once=name in once) for name, column in columns.items()}
    return _insertion(row_type, names, once, tuple(replace_by)), values


@lru_cache(maxsize=256)
def deletion(row_type: type[DeclarativeBase]) -> TextClause:
    """Build the statement that deletes the rows of `:subjects` and returns their residents."""
    statement = f"DELETE FROM {row_type.__table__} WHERE subject = ANY(CAST(:subjects AS uuid[]))"  # noqa: S608 (a table)
    return text(f"{statement} RETURNING resident_id")


@lru_cache(maxsize=256)
def _insertion(
    row_type: type[DeclarativeBase], names: tuple[str, ...], once: frozenset[str], key: tuple[str, ...]
) -> TextClause:
    types = _types(row_type)
    arrays = {name: _array(name, types[name]) for name in names if name not in once}
    picked = (
        f"CAST({f'CAST(:{name} AS {_travels_as(types[name])})' if name in once else f'given.{name}'} AS {types[name]})"
        for name in names
    )
    statement = (
        f"INSERT INTO {row_type.__table__} ({', '.join(names)}) SELECT {', '.join(picked)} "  # noqa: S608 (columns)
        f"FROM unnest({', '.join(arrays.values())}) AS given ({', '.join(arrays)})"
    )
    if key:
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        statement += f" ON CONFLICT ({', '.join(key)}) DO {action}"
    return text(statement)


@lru_cache(maxsize=256)
def _types(row_type: type[DeclarativeBase]) -> dict[str, str]:
    return {column.name: column.type.compile(DIALECT).split(" COLLATE")[0] for column in row_type.__table__.c}


def _travels_as(type_name: str) -> str:
    return "text" if "JSON" in type_name else type_name


def _array(name: str, type_name: str) -> str:
    sent = f"CAST(:{name} AS text)" if type_name in WITHOUT_ESCAPES else f":{name}"
    return f"CAST({sent} AS {_travels_as(type_name)}[])"


def _sent(column: Sequence[Any], type_name: str, *, once: bool) -> Any:
    if once:
        return column[0]
    return literal(column) if type_name in WITHOUT_ESCAPES else column


def _is_the_same(column: Sequence[Any]) -> bool:
    return bool(column[0] == column[-1]) and column.count(column[0]) == len(column)


def _column(name: str, type_name: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    values = [row[name] for row in rows]
    if "JSON" not in type_name:
        return values
    return [None if value is None else msgspec.json.encode(value).decode() for value in values]
