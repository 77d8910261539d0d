"""Many rows in one statement: each column travels as one array, so the statement is the same for any number of rows.

A driver encodes an array value by value, in Python, and that was most of the time of a batch. So an array travels as
PostgreSQL itself writes it, made in one go (`literal`); and a column that says the same in all rows travels once.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase

WITHOUT_ESCAPES = {"UUID", "TIMESTAMP WITH TIME ZONE", "BIGINT", "INTEGER", "SMALLINT", "BOOLEAN"}
"""The types whose values PostgreSQL and JSON write alike."""

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def literal(values: Sequence[Any]) -> str:
    """An array of ids, days, times, numbers or truths as text, for `CAST(CAST(:values AS text) AS uuid[])`.

    For `unnest`, which reads it once: in a condition (`= ANY(…)`) it may be read again for each row that is looked at.
    Of texts only where none has a control character, such as codes and names of types: JSON alone escapes those. Bytes
    become texts in base64.
    """
    return "{" + msgspec.json.encode(values)[1:-1].decode() + "}"


def insertion(
    kind: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]], *, replace_by: Sequence[str] = ()
) -> tuple[TextClause, dict[str, Any]]:
    """The statement that inserts rows of the same columns, and its values; `replace_by` names the key to replace by."""
    names = tuple(rows[0])
    types = _types(kind)
    columns = {name: _column(name, types[name], rows) for name in names}
    # Not the first: a statement without an array would insert one row.
    once = frozenset(name for name in names[1:] if _is_the_same(columns[name]))
    values = {name: _sent(column, types[name], once=name in once) for name, column in columns.items()}
    return _insertion(kind, names, once, tuple(replace_by)), values


@lru_cache(maxsize=256)
def deletion(kind: type[DeclarativeBase]) -> TextClause:
    """The statement that deletes what is held from `:subjects`, and says whom it was about."""
    held = f"DELETE FROM {kind.__table__} WHERE subject = ANY(CAST(:subjects AS uuid[]))"  # noqa: S608 (a table)
    return text(f"{held} RETURNING resident_id")


@lru_cache(maxsize=256)
def _insertion(
    kind: type[DeclarativeBase], names: tuple[str, ...], once: frozenset[str], key: tuple[str, ...]
) -> TextClause:
    types = _types(kind)
    arrays = {name: _array(name, types[name]) for name in names if name not in once}
    picked = (
        f"CAST({f'CAST(:{name} AS {_travels_as(types[name])})' if name in once else f'given.{name}'} AS {types[name]})"
        for name in names
    )
    statement = (
        f"INSERT INTO {kind.__table__} ({', '.join(names)}) SELECT {', '.join(picked)} "  # noqa: S608 (columns)
        f"FROM unnest({', '.join(arrays.values())}) AS given ({', '.join(arrays)})"
    )
    if key:
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        statement += f" ON CONFLICT ({', '.join(key)}) DO {action}"
    return text(statement)


@lru_cache(maxsize=256)
def _types(kind: type[DeclarativeBase]) -> dict[str, str]:
    return {column.name: column.type.compile(DIALECT).split(" COLLATE")[0] for column in kind.__table__.c}


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
