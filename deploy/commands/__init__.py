"""The commands of the console script that come in families, and what they have in common."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.trouble import Trouble

if TYPE_CHECKING:
    from deploy.up import Installation
    from shared.settings import Service

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Data directory. Default: FANGXIAN_DATA, else ~/.local/share/fangxian.",
        metavar="DIR",
        show_default=False,
    ),
]
"""Where an installation is, as every command asks for it."""


def service_named(name: str) -> "Service":
    """The service of a name. Raises Trouble if there is none."""
    from shared.settings import SERVICES

    for service in SERVICES:
        if service == name:
            return service
    raise Trouble(f"There is no service {name}: there are {', '.join(SERVICES)}.")


def installed(data: Path | None) -> "Installation":
    """What runs on a data directory. Raises Trouble if nothing does."""
    from deploy.feed import installed as found
    from deploy.up import options

    return found(options(data))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their columns, in a narrow terminal too: text wraps, and an id stays whole."""
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name, *cells in zip(columns, *rows, strict=True):
        table.add_column(name, overflow="fold", no_wrap=not any(" " in cell for cell in cells))
    for row in rows:
        table.add_row(*row)
    Console().print(table)
