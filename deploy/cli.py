"""The console script `fangxian`. A command imports what it needs when it runs, so that every command starts quickly."""

import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deploy.commands import Data, print_table, service_named, sessions
from deploy.commands.audit import audit
from deploy.commands.clients import clients
from deploy.commands.feed import feed
from deploy.commands.keys import keys
from deploy.commands.regions import regions
from deploy.trouble import DEBUG, Trouble, in_words

if TYPE_CHECKING:
    from deploy.up import Installation

app = typer.Typer(
    name="fangxian",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fangxian {version('fangxian')}")
        raise typer.Exit


@app.callback()
def fangxian(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Fangxian 防线: the backend on which a sub-district runs its epidemic control.

    Start with `fangxian up`, then follow docs/first-day.md. If something is wrong, run `fangxian doctor`.
    `fangxian COMMAND --help` explains one command and shows an example.

    Example: fangxian up --data /srv/fangxian --port 8000
    """


app.add_typer(feed, name="feed")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
app.add_typer(clients, name="clients")
app.add_typer(regions, name="regions")
sessions.add_to(app)

OPEN_TO_ALL = (
    "[bold red]Development mode:[/] anybody who can reach this port can get a token for any role, also administrator. "
    "Do not enter data of real people. For production see docs/first-day.md."
)

NO_CODES = (
    "[bold red]Residents cannot sign in:[/] FANGXIAN_PHONE_GATEWAY_URL is not set, so no codes are sent to phones. "
    "See docs/first-day.md."
)

OneService = Annotated[str, typer.Argument(metavar="SERVICE", help="registry, testing, observation or gateway.")]
Port = Annotated[
    int, typer.Option("--port", metavar="N", help="Port of the gateway. The other services use the next three ports.")
]


@app.command()
def up(data: Data = None, port: Port = 8000) -> None:
    """Start all services on this machine and keep them running.

    Ctrl-C or SIGTERM stops them in order. A second one kills them.

    To use your own servers, set DATABASE_URL (with the login of the database's owner) and REDIS_URL. Without them the
    embedded PostgreSQL and Valkey are used.

    Example: fangxian up --data /srv/fangxian --port 8000
    """
    from deploy import data as directories

    _print(f"Starting on {directories.at(data or directories.default_path()).path} …")
    from deploy import up as starting

    starting.up(starting.options(data, port), announce=_announce, progress=_print)


@app.command()
def migrate(
    data: Data = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Directory with the passwords of the services' logins, for processes that run without `up`. "
            "The database is the one in DATABASE_URL, and no data directory is used.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Migrate the database to the installed version. Stop all services first.

    `fangxian up` also does this at each start.

    Examples:

    fangxian migrate --data /srv/fangxian

    DATABASE_URL=postgresql://owner@db/fangxian fangxian migrate --keys keys/owner
    """
    if keys:
        from deploy import alone

        alone.migrate_with(os.environ.get("DATABASE_URL"), keys)
    else:
        from deploy import up as starting

        starting.migrate_only(starting.options(data))
    typer.echo("The database is at the installed version.")


@app.command()
def serve(
    service: OneService,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on. 0.0.0.0 means all addresses.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="Port to listen on.", min=1, max=65535)] = 8000,
) -> None:
    """Run the API of one service in this process.

    Use it where each process runs in its own container. The settings are FANGXIAN_… environment variables.
    docs/running.md lists them.

    Example: fangxian serve gateway --host 0.0.0.0 --port 8000
    """
    from deploy import alone

    alone.serve(service_named(service), host, port)


@app.command()
def work(service: OneService) -> None:
    """Run the worker of one service in this process.

    Use it where each process runs in its own container. The settings are FANGXIAN_… environment variables.
    docs/running.md lists them.

    Example: fangxian work gateway
    """
    from deploy import alone

    alone.work(service_named(service))


@app.command()
def status(
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show what is running: the installation and its processes.

    The first line has the address of the gateway, the data directory, the mode and the version. Exit code 1 if nothing
    runs.

    Example: fangxian status --json
    """
    from deploy import data as directories
    from deploy import status as states

    directory = directories.at(data or directories.default_path())
    state = states.read(directory.status)
    if directories.holder(directory) is None:
        raise Trouble(f"Nothing is running on {directory.path}. Start it with `fangxian up`.")
    if state is None:
        raise Trouble(f"Fangxian is still starting on {directory.path}.")
    heading, columns = states.heading(state, directory.path), ("process", "pid", "state", "for", "restarts", "memory")
    if as_json:
        processes = [dict(zip(columns, row, strict=True)) for row in states.rows(state)]
        typer.echo(json.dumps(heading | {"processes": processes}, indent=1))
        return
    typer.echo("gateway {gateway}, data {data}, {mode}, version {version}".format_map(heading))
    print_table(columns, states.rows(state))


@app.command()
def doctor(data: Data = None, port: Port = 8000) -> None:
    """Check the installation, and show each problem with its solution. Changes nothing.

    Exit code 1 if there is a problem (WRONG). A warning (WARN) does not count.

    Example: fangxian doctor --data /srv/fangxian
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from deploy.doctor import examine
    from deploy.up import options

    findings = examine(options(data, port))
    table = Table("", "what", "found", box=None)
    for finding in findings:
        verdict = "ok" if finding.is_ok else "[bold red]WRONG[/]" if finding.is_failure else "[bold yellow]WARN[/]"
        table.add_row(verdict, finding.name, escape(finding.result))
        if finding.remedy and not finding.is_ok:
            table.add_row("", "", escape(f"→ {finding.remedy}"))
    Console().print(table)
    if any(finding.is_failure for finding in findings):
        raise typer.Exit(1)


@app.command()
def logs(
    process: Annotated[
        str | None,
        typer.Argument(
            metavar="PROCESS",
            help="gateway, registry, testing or observation; the same with -worker; postgres, valkey, migrations or "
            "supervisor. Default: all.",
        ),
    ] = None,
    data: Data = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing new lines as they are written.")
    ] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", metavar="N", help="Number of lines from the end of each log.")
    ] = 20,
) -> None:
    """Show the logs of the processes. They contain ids only, no personal data.

    Example: fangxian logs gateway -f
    """
    from deploy import data as directories
    from deploy import logs as files

    directory = directories.at(data or directories.default_path()).logs
    known = files.names_in(directory)
    if not known:
        raise Trouble(f"Nothing has run on {directory.parent} yet. Start it with `fangxian up`.")
    if process is not None and process not in known:
        raise Trouble(f"There is no log of {process} in {directory}. Choose one of: {', '.join(known)}.")
    names = [process] if process else known
    for line in files.show(directory, names, lines):
        typer.echo(line)
    if follow:
        for line in files.follow(directory, names):
            typer.echo(line)


@app.command()
def sunset(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Directory for the audit and the report. Store it elsewhere later."),
    ],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask to type the number of the decree.")] = False,
) -> None:
    """Delete all personal data when the emergency is over. This is irreversible.

    Two commanders must have declared the end before. The command writes the audit to files, deletes all people except
    those under a legal hold, destroys the keys so that no backup can be decrypted, and writes a report. If it was
    interrupted, run it again.

    Example: fangxian sunset --out /mnt/archive
    """
    from deploy.sunset import command
    from deploy.up import options

    chosen = options(data)
    decree = command.declared(chosen)["decree"]
    if not yes and typer.prompt(f"To destroy everything, type the number of the decree, {decree!r}") != decree:
        raise Trouble("Nothing was destroyed.")
    command.sunset(chosen, out, typer.echo)


@app.command()
def demo(
    people: Annotated[
        int, typer.Option(metavar="N", help="Number of people to generate: 300 to 300,000.", min=300, max=300_000)
    ] = 20_000,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed generates the same people and round.")] = 1,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Data directory to keep. Default: a temporary one that is deleted.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="N", help="Port of the gateway. Default: free ports.", show_default=False)
    ] = None,
) -> None:
    """Run a testing round with generated people and check it.

    The results are compared with an independent calculation. Exit code 1 if a check fails.

    Example: fangxian demo --people 5000 --seed 7
    """
    from deploy.demo.journey import demonstrate

    if not demonstrate(people, seed, data, port):
        raise typer.Exit(1)


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Paths to measure, for example door or results. Default: all."),
    ] = None,
    people: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", help="Number of people. Can be repeated. Default: 20,000 and 100,000.", min=300, max=250_000
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Get rough figures in under two minutes.")] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write all figures to this file.", show_default=False)
    ] = None,
) -> None:
    """Measure the performance of this machine.

    Each performance-critical path is compared with its minimum (floor). Exit code 1 if a path is below its floor. A
    target that is not reached is shown, but is not a failure.

    Example: fangxian bench door --people 20000
    """
    from deploy.bench.run import bench as measure

    page = measure(names or [], people or [], quick=quick, json=json)
    if any(figure.failed for figure in page.figures):
        raise typer.Exit(1)


def _print(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _announce(installation: "Installation") -> None:
    from rich.console import Console
    from rich.table import Table

    from deploy.administration import first_link

    table = Table("what", "where", box=None)
    for service, url in installation.options.urls.items():
        table.add_row(service, url)
    table.add_row("API document", f"{installation.options.urls['gateway']}/openapi.json")
    table.add_row("database", "embedded" if not installation.options.database_url else "DATABASE_URL")
    table.add_row("Redis", "embedded (Valkey)" if not installation.options.redis_url else "REDIS_URL")
    table.add_row("data", str(installation.directory.path))
    console = Console()
    console.print(table)
    settings = installation.settings("gateway")
    if settings.development_issuer:
        console.print(OPEN_TO_ALL, soft_wrap=True, highlight=False)
    if not settings.lets_residents_in:
        console.print(NO_CODES, soft_wrap=True, highlight=False)
    if link := first_link(installation.owner_url, settings.issuer_url):
        console.print("Open this link within 24 hours to create the first administrator. It works once:")
        console.print(link, soft_wrap=True, highlight=False)
    console.print("Running. Press Ctrl-C to stop.")
    console.file.flush()


def main_of(command: Callable[[], object]) -> NoReturn:
    """Run a command. On Trouble, print its sentence to stderr and exit with 1.

    An unexpected OSError is reported in the same way. If FANGXIAN_DEBUG is set, its traceback is printed too.
    """
    try:
        command()
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        sys.exit(1)
    except BrokenPipeError:  # `fangxian logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        sys.stderr.write(f"{in_words(error)}\n")
        sys.exit(1)
    sys.exit(0)


def main() -> NoReturn:
    """The console script. It prints a character that the terminal cannot encode as an escape, and raises no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    main_of(app)


if __name__ == "__main__":
    main()
