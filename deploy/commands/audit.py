"""`fangxian audit`: its export, and its verification."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands import Data, service_named
from deploy.trouble import Trouble

audit = typer.Typer(help="The audit: its export, and its verification.", no_args_is_help=True)
Day = Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="A day in Asia/Shanghai.")]


@audit.command("export")
def audit_export(
    day: Annotated[datetime, typer.Option("--day", formats=["%Y-%m-%d"], help="A day in Asia/Shanghai.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    service: Annotated[str | None, typer.Option(help="One service; all if none is named.")] = None,
    visits: Annotated[
        Path | None, typer.Option(help="A file for the visits sealed on that day, personal data.")
    ] = None,
    data: Data = None,
) -> None:
    """Write a day's sealed entries to a file that `verify`, or deploy/audit/verify_audit.py anywhere, can check."""
    from deploy.audit import export
    from deploy.up import options
    from shared.settings import SERVICES

    services = SERVICES if service is None else [service_named(service)]
    if visits is not None and "gateway" not in services:
        raise Trouble("The seals of visits are in the gateway's audit: export it with them.")
    count = export.export(options(data), day.date(), services, out)
    typer.echo(f"{count} entries of {day.date()} are in {out}.")
    if visits is not None:
        count = export.export_visits(options(data), day.date(), out, visits)
        typer.echo(f"{count} visits sealed on {day.date()} are in {visits}.")


@audit.command("verify")
def audit_verify(
    file: Annotated[Path | None, typer.Argument(help="An export; the database itself if none is named.")] = None,
    day: Day = None,
    head: Annotated[list[Path] | None, typer.Option(help="Heads kept outside; may be given more than once.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Public keys (JWKS); the installation's if none are named.")] = None,
    visits: Annotated[Path | None, typer.Option(help="An export of the same day's visits, to be checked too.")] = None,
    data: Data = None,
) -> None:
    """Look for entries and visits that were changed, are missing, were added or moved. Ends with 1 if there are any."""
    from deploy.audit import export
    from deploy.up import options

    chosen, heads = options(data), [str(path) for path in head or []]
    found = export.verify(chosen, file, heads, keys, visits) if file else export.verify_all(chosen, day, heads)
    if found:
        raise typer.Exit(found)
