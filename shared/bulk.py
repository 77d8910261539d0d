"""Many rows in one statement: each column travels as one array, so the statement is the same for any number of rows."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def insertion(
    kind: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]], *, replace_by: Sequence[str] = ()
) -> tuple[TextClause, dict[str, Any]]:
    """The statement that inserts rows of the same columns, and its values; `replace_by` names the key to replace by.

    A column that says the same in all rows travels once.
    """
    names = tuple(rows[0])
    columns = {name: [row[name] for row in rows] for name in names}
    same = frozenset(name for name, column in columns.items() if column.count(column[0]) == len(column))
    jsons = {name for name in names if isinstance(kind.__table__.c[name].type, postgresql.JSON)}
    for name in jsons:
        columns[name] = [_said(value) for value in columns[name]]
    values = {name: column[0] if name in same else column for name, column in columns.items()}
    # A statement of nothing but scalars would insert one row.
    if len(same) == len(names):
        same, values = same - {names[0]}, values | {names[0]: columns[names[0]]}
    return _insertion(kind, names, same, tuple(replace_by)), values


@lru_cache(maxsize=256)
def deletion(kind: type[DeclarativeBase]) -> TextClause:
    """The statement that deletes what is held from `:subjects`, and says whom it was about."""
    held = f"DELETE FROM {kind.__table__} WHERE subject = ANY(CAST(:subjects AS uuid[]))"  # noqa: S608 (a table)
    return text(f"{held} RETURNING resident_id")


@lru_cache(maxsize=256)
def _insertion(
    kind: type[DeclarativeBase], names: tuple[str, ...], same: frozenset[str], key: tuple[str, ...]
) -> TextClause:
    columns = kind.__table__.c
    types = {name: columns[name].type.compile(DIALECT).split(" COLLATE")[0] for name in names}
    sent = {name: "text" if "JSON" in types[name] else types[name] for name in names}
    given = [name for name in names if name not in same]
    arrays = ", ".join(f"CAST(:{name} AS {sent[name]}[])" for name in given)
    picked = ", ".join(
        f"CAST(CAST(:{name} AS {sent[name]}) AS {types[name]})"
        if name in same
        else f"CAST(given.{name} AS {types[name]})"
        for name in names
    )
    statement = (
        f"INSERT INTO {kind.__table__} ({', '.join(names)}) "  # noqa: S608 (columns of a table)
        f"SELECT {picked} FROM unnest({arrays}) AS given ({', '.join(given)})"
    )
    if key:
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        statement += f" ON CONFLICT ({', '.join(key)}) DO {action}"
    return text(statement)


def _said(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
