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
    """The statement that inserts rows of the same columns, and its values; `replace_by` names the key to replace by."""
    names = tuple(rows[0])
    jsons = {name for name in names if isinstance(kind.__table__.c[name].type, postgresql.JSON)}
    values = {name: [_plain(row[name], name in jsons) for row in rows] for name in names}
    return _insertion(kind, names, tuple(replace_by)), values


@lru_cache(maxsize=256)
def deletion(kind: type[DeclarativeBase]) -> TextClause:
    """The statement that deletes what is held from `:subjects`."""
    return text(f"DELETE FROM {kind.__table__} WHERE subject = ANY(CAST(:subjects AS uuid[]))")  # noqa: S608 (a table)


@lru_cache(maxsize=256)
def _insertion(kind: type[DeclarativeBase], names: tuple[str, ...], key: tuple[str, ...]) -> TextClause:
    columns = kind.__table__.c
    types = {name: columns[name].type.compile(DIALECT).split(" COLLATE")[0] for name in names}
    arrays = ", ".join(f"CAST(:{name} AS {'text' if 'JSON' in types[name] else types[name]}[])" for name in names)
    picked = ", ".join(f"CAST(given.{name} AS {types[name]})" for name in names)
    listed = ", ".join(names)
    statement = f"INSERT INTO {kind.__table__} ({listed}) SELECT {picked} FROM unnest({arrays}) AS given ({listed})"  # noqa: S608
    if key:
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        statement += f" ON CONFLICT ({', '.join(key)}) DO {action}"
    return text(statement)


def _plain(value: Any, is_json: bool) -> Any:
    return json.dumps(value, ensure_ascii=False) if is_json and value is not None else value
