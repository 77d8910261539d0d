"""`fangxian audit`: its export, and its verification."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands import Data, service_named
from deploy.trouble import Trouble

audit = typer.Typer(help="Export and verify the audit.", no_args_is_help=True, rich_markup_mode=None)
A_DAY = "A day in China (Asia/Shanghai), as in 2021-01-20."
Day = Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], metavar="DATE", help=A_DAY)]


@audit.command("export")
def audit_export(
    day: Annotated[datetime, typer.Option("--day", formats=["%Y-%m-%d"], metavar="DATE", help=A_DAY)],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    service: Annotated[
        str | None,
        typer.Option(metavar="SERVICE", help="registry, testing, observation or gateway; all if not given."),
    ] = None,
    visits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the visits of that day, personal data, to this file."),
    ] = None,
    data: Data = None,
) -> None:
    """Write the chained entries of a day to a file.

    `audit verify`, or deploy/audit/verify_audit.py on any machine, can check the file.

    Example: fangxian audit export --day 2021-01-20 --out audit-2021-01-20.jsonl
    """
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
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A file that `audit export` wrote; the database itself if not given."),
    ] = None,
    day: Day = None,
    head: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Signed daily heads that you kept outside of this machine, to compare with; may be repeated.",
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public keys (JWKS); those of the installation if not given.")
    ] = None,
    visits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The visits of the same day, as `audit export --visits` wrote them."),
    ] = None,
    data: Data = None,
) -> None:
    """Check the audit for entries and visits that were changed, removed, added or moved.

    Exit code 1 if there are any.

    Example: fangxian audit verify audit-2021-01-20.jsonl --head heads-2021-01.jsonl
    """
    from deploy.audit import export
    from deploy.up import options

    chosen, heads = options(data), [str(path) for path in head or []]
    found = export.verify(chosen, file, heads, keys, visits) if file else export.verify_all(chosen, day, heads)
    if found:
        raise typer.Exit(found)
