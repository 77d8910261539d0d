"""The console script `fangxian`. What a command needs is imported when it runs, so that each starts quickly."""

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
from deploy.trouble import DEBUG, Trouble, in_words

if TYPE_CHECKING:
    from deploy.up import Installation

app = typer.Typer(
    name="fangxian",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fangxian {version('fangxian')}")
        raise typer.Exit


@app.callback()
def fangxian(
    _: Annotated[
        bool, typer.Option("--version", help="Show which version this is.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Fangxian 防线: the backend a sub-district runs its epidemic control on."""


app.add_typer(feed, name="feed")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
app.add_typer(clients, name="clients")
sessions.add_to(app)

OneService = Annotated[str, typer.Argument(help="registry, testing, observation or gateway.")]
Port = Annotated[int, typer.Option("--port", help="Port of the gateway; the other services take the three after it.")]


@app.command()
def up(data: Data = None, port: Port = 8000) -> None:
    """Start everything on this machine, and keep it running until Ctrl-C or SIGTERM.

    DATABASE_URL (of its owner) and REDIS_URL point to servers of your own; without them the embedded ones are used.
    """
    from deploy import up as starting

    starting.up(starting.options(data, port), announce=_announce)


@app.command()
def migrate(
    data: Data = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Where the passwords of the services' logins are, for processes that run without `up`; "
            "the database is DATABASE_URL's, and there is no data directory.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Bring the database to this version, while nothing runs. `up` does it too."""
    if keys:
        from deploy import alone

        alone.migrate_with(os.environ.get("DATABASE_URL"), keys)
    else:
        from deploy import up as starting

        starting.migrate_only(starting.options(data))
    typer.echo("The database is of this version.")


@app.command()
def serve(
    service: OneService,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=1, max=65535)] = 8000,
) -> None:
    """Serve one API in this process, with FANGXIAN_… in the environment, until SIGTERM."""
    from deploy import alone

    alone.serve(service_named(service), host, port)


@app.command()
def work(service: OneService) -> None:
    """Do one service's background work in this process, with FANGXIAN_… in the environment, until SIGTERM."""
    from deploy import alone

    alone.work(service_named(service))


@app.command()
def status(data: Data = None) -> None:
    """Show what runs. Ends with 1 if nothing does."""
    from deploy import data as directories
    from deploy import status as states

    directory = directories.at(data or directories.default_path())
    state = states.read(directory.status)
    if directories.holder(directory) is None:
        raise Trouble(f"Nothing runs on {directory.path}: start it with `fangxian up`.")
    if state is None:
        raise Trouble(f"Fangxian is starting on {directory.path}.")
    print_table(("process", "pid", "state", "for", "restarts", "memory"), states.rows(state))


@app.command()
def doctor(data: Data = None, port: Port = 8000) -> None:
    """Look for what is wrong and say how to mend it. Ends with 1 if something is."""
    from rich.console import Console
    from rich.table import Table

    from deploy.doctor import examine
    from deploy.up import options

    findings = examine(options(data, port))
    table = Table("", "what", "found", box=None)
    for finding in findings:
        table.add_row("ok" if finding.well else "[bold red]WRONG[/]", finding.what, finding.found)
        if not finding.well:
            table.add_row("", "", f"→ {finding.mend}")
    Console().print(table)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


@app.command()
def logs(
    process: Annotated[
        str | None,
        typer.Argument(help="gateway, gateway-worker, …, postgres, supervisor; all if none is named."),
    ] = None,
    data: Data = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is added.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last lines of each.")] = 20,
) -> None:
    """Show what the processes say."""
    from deploy import data as directories
    from deploy import logs as files

    directory = directories.at(data or directories.default_path()).logs
    known = files.names_in(directory)
    if not known:
        raise Trouble(f"Nothing has run on {directory.parent}: start it with `fangxian up`.")
    if process is not None and process not in known:
        raise Trouble(f"There is no log of {process} in {directory}: there are {', '.join(known)}.")
    names = [process] if process else known
    for line in files.show(directory, names, lines):
        typer.echo(line)
    if follow:
        for line in files.follow(directory, names):
            typer.echo(line)


@app.command()
def sunset(
    out: Annotated[Path, typer.Option("--out", help="A directory for the audit and the report, to be kept outside.")],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the number of the decree.")] = False,
) -> None:
    """End it: destroy all that was collected about people, once two of the command have declared the emergency over.

    Keeps the audit as files, removes everybody whom no court holds, destroys the keys so that no backup opens any more,
    and reports. There is no way back. Stopped halfway, call it again.
    """
    from deploy.sunset import command
    from deploy.up import options

    chosen = options(data)
    decree = command.declared(chosen)["decree"]
    if not yes and typer.prompt(f"Type the number of the decree, {decree!r}, to destroy everything") != decree:
        raise Trouble("Nothing was destroyed.")
    command.sunset(chosen, out, typer.echo)


@app.command()
def demo(
    people: Annotated[int, typer.Option(help="How many people live in Xintang.", min=300, max=300_000)] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same people and the same round.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Data directory to keep; one that is removed if not given.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the gateway; four free ones if not given.", show_default=False)
    ] = None,
) -> None:
    """Run the main job with people who never lived, as the real parties would. Ends with 1 if a check fails."""
    from deploy.demo.journey import demonstrate

    if not demonstrate(people, seed, data, port):
        raise typer.Exit(1)


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Paths to measure; all if none is named.")
    ] = None,
    people: Annotated[
        list[int] | None,
        typer.Option(help="How many people; may be given more than once. 20,000 and 100,000.", min=300, max=250_000),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Rough figures in under two minutes.")] = False,
    json: Annotated[Path | None, typer.Option(help="Also write all figures to this file.", show_default=False)] = None,
) -> None:
    """Measure the hot paths, each against its floor in the same run, and show one page of ratios.

    Ends with 1 if a path fails. An aim that is not met is shown, and is no failure.
    """
    from deploy.bench.run import bench as measure

    page = measure(names or [], people or [], quick=quick, json=json)
    if any(figure.failed for figure in page.figures):
        raise typer.Exit(1)


def _announce(installation: "Installation") -> None:
    from rich.console import Console
    from rich.table import Table

    from deploy.administration import first_link

    table = Table("what", "where", box=None)
    for service, url in installation.options.urls.items():
        table.add_row(service, url)
    table.add_row("its API", f"{installation.options.urls['gateway']}/openapi.json")
    table.add_row("database", "embedded" if not installation.options.database_url else "DATABASE_URL")
    table.add_row("wake-ups", "embedded" if not installation.options.redis_url else "REDIS_URL")
    table.add_row("data", str(installation.directory.path))
    console = Console()
    console.print(table)
    if link := first_link(installation.owner_url, installation.settings("gateway").issuer_url):
        console.print("Nobody administers this installation yet. Become the first, once and within a day:")
        console.print(link, soft_wrap=True, highlight=False)
    console.print("Running; Ctrl-C stops it.")
    console.file.flush()


def main_of(command: Callable[[], object]) -> NoReturn:
    """Run a command. Trouble is one sentence on stderr, and the exit code 1.

    So is what the operating system refuses, though nobody foresaw it; with FANGXIAN_DEBUG set it says where that was.
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
    """The console script."""
    main_of(app)


if __name__ == "__main__":
    main()
