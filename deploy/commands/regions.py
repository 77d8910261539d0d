"""`fangxian regions`: import and update townships and communities."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands import Data, installed

if TYPE_CHECKING:
    from migrations.regions import Outcome

regions = typer.Typer(
    help="""Import and update the townships and communities of a district.

    Example: fangxian regions import futian.csv
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="CSV file (UTF-8 or GB18030) with the columns code and name; optional: level, valid_from, valid_until.",
    ),
]


@regions.command("import")
def regions_import(file: File, data: Data = None) -> None:
    """Add the regions of a file, and update changed names. No region is withdrawn. You can repeat the command.

    Example: fangxian regions import futian.csv
    """
    from deploy import regions as lists

    _show(lists.import_file(installed(data).owner_url, file))


@regions.command("update")
def regions_update(
    file: File,
    below: Annotated[
        str,
        typer.Option("--below", metavar="CODE", help="Region whose complete list is in the file, for example 350582."),
    ],
    data: Data = None,
) -> None:
    """Import a newer list of a district, and withdraw the regions that are not in it. Regions with people stay.

    Only the levels that occur in the file are compared. If the file has no patches and grids, they stay.

    Example: fangxian regions update futian-2024.csv --below 440304
    """
    from deploy import regions as lists

    outcome = lists.update_from_file(installed(data).owner_url, file, below)
    _show(outcome)
    typer.echo(f"withdrawn {len(outcome.retired)}{_named(outcome.retired)}")
    if outcome.kept:
        typer.echo(
            f"kept, although not in the file, because people are on record there: {len(outcome.kept)}"
            f"{_named(outcome.kept)}. Transfer these people, then update again."
        )


def _show(outcome: "Outcome") -> None:
    typer.echo(f"added {outcome.added}, changed {outcome.changed}, unchanged {outcome.unchanged}")


def _named(codes: tuple[str, ...]) -> str:
    if not codes:
        return ""
    return f": {', '.join(codes[:20])}{', …' if len(codes) > 20 else ''}"
