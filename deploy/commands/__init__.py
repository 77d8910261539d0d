"""The groups of commands of the console script, and what they share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.trouble import Trouble

if TYPE_CHECKING:
    from deploy.up import Installation
    from shared.core.settings import Service

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Data directory. Default: $FANGXIAN_DATA, otherwise ~/.local/share/fangxian.",
        metavar="DIR",
        show_default=False,
    ),
]
"""The data directory of an installation: the same option for every command."""


def service_named(name: str) -> "Service":
    """Return the service with this name. Raises Trouble for an unknown name."""
    from shared.core.settings import SERVICES

    for service in SERVICES:
        if service == name:
            return service
    raise Trouble(f"There is no service {name}. Choose one of: {', '.join(SERVICES)}.")


def installed(data: Path | None) -> "Installation":
    """Return the installation that runs on a data directory. Raises Trouble if nothing runs there."""
    from deploy.feed import installed as running
    from deploy.up import options

    return running(options(data))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. In a narrow terminal texts wrap, but ids stay on one line."""
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name, *cells in zip(columns, *rows, strict=True):
        table.add_column(name, overflow="fold", no_wrap=not any(" " in cell for cell in cells))
    for row in rows:
        table.add_row(*row)
    Console().print(table)
