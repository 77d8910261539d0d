"""Lists a page at a time: cursors, and what a page of a list looks like."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from shared.problems import LocalizedText, Problem

T = TypeVar("T")

F = TypeVar("F")

MOST_PER_PAGE = 200

CURSOR = r"^[0-9~]{0,16}s[0-9a-f]{1,15}$"
"""The format of a cursor, for the OpenAPI documents. Callers treat it as opaque."""


class InvalidCursor(Problem):
    """The cursor does not come from this list."""

    status = 422
    code = "invalid_cursor"
    title = LocalizedText(zh="分页游标无效", en="The cursor is not valid")
    fix = LocalizedText(
        zh="请原样使用上一页的 next_cursor，或从头开始", en="Send next_cursor unchanged, or start from the first page"
    )


class Position(NamedTuple):
    """The position of a row in a list: by region, then in the order in which the server wrote the rows."""

    region: str = ""
    seq: int = 0


START = Position()


@dataclass(frozen=True, slots=True)
class Page:
    """The requested part of a list: at most `limit` rows after a position."""

    after: Position = START
    limit: int = 50


class Listed(BaseModel, Generic[T]):
    """One page of a list. `next_cursor` is null on the last page."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return `RegionPage` and not `Listed[Region]`, because generated clients use this name."""
        return f"{getattr(params[0], '__origin__', params[0]).__name__}Page"


def listed(rows: Sequence[F], page: Page, to_public: Callable[[F], T], position: Callable[[F], Position]) -> Listed[T]:
    """Build one page from rows of a query whose limit was one more than the limit of the page."""
    items = rows[: page.limit]
    next_cursor = cursor_of(position(items[-1])) if len(rows) > page.limit else None
    return Listed(items=[to_public(row) for row in items], next_cursor=next_cursor)


def cursor_of(position: Position) -> str:
    """Encode a list position as a cursor."""
    return f"{position.region}s{position.seq:x}"


def position_of(cursor: str | None) -> Position:
    """Decode a caller's cursor into a list position. Raises `InvalidCursor`."""
    if cursor is None:
        return START
    if not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise InvalidCursor()
    region, _, seq = cursor.partition("s")
    return Position(region, int(seq, 16))
