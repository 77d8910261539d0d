"""`fangxian audit`: export and verify the audit."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands import Data, service_named
from deploy.trouble import Trouble

audit = typer.Typer(
    help="""Export and verify the audit.

    Example: fangxian audit verify --day 2021-01-20
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)
A_DAY = "A day in the time zone Asia/Shanghai, for example 2021-01-20."
Day = Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], metavar="DATE", help=A_DAY)]


@audit.command("export")
def audit_export(
    day: Annotated[datetime, typer.Option("--day", formats=["%Y-%m-%d"], metavar="DATE", help=A_DAY)],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")],
    service: Annotated[
        str | None,
        typer.Option(metavar="SERVICE", help="registry, testing, observation or gateway. Default: all."),
    ] = None,
    visits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the visits of that day to this file. They are personal data."),
    ] = None,
    data: Data = None,
) -> None:
    """Write the chained audit entries of one day to a file.

    Check the file with `fangxian audit verify`, or on any machine with deploy/audit/verify_audit.py.

    Example: fangxian audit export --day 2021-01-20 --out audit-2021-01-20.jsonl
    """
    from deploy.audit import export
    from deploy.up import options
    from shared.core.settings import SERVICES

    services = SERVICES if service is None else [service_named(service)]
    if visits is not None and "gateway" not in services:
        raise Trouble("Use --visits with the audit of the gateway, because it holds the seals of the visits.")
    count = export.export(options(data), day.date(), services, out)
    typer.echo(f"{count} entries of {day.date()} are in {out}.")
    if visits is not None:
        count = export.export_visits(options(data), day.date(), out, visits)
        typer.echo(f"{count} visits that were sealed on {day.date()} are in {visits}.")


@audit.command("verify")
def audit_verify(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="File written by `audit export`. Default: check the database itself."),
    ] = None,
    day: Day = None,
    head: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="File with signed daily heads that you kept outside this machine, to compare with. Can be repeated.",
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public keys (JWKS). Default: those of the installation.")
    ] = None,
    visits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The visits of the same day, written by `audit export --visits`."),
    ] = None,
    data: Data = None,
) -> None:
    """Find audit entries and visits that were changed, removed, added or moved.

    Exit code 1 if there are any.

    Example: fangxian audit verify audit-2021-01-20.jsonl --head heads-2021-01.jsonl
    """
    from deploy.audit import export
    from deploy.up import options

    chosen, heads = options(data), [str(path) for path in head or []]
    exit_code = export.verify(chosen, file, heads, keys, visits) if file else export.verify_all(chosen, day, heads)
    if exit_code:
        raise typer.Exit(exit_code)
