"""The console script `fangxian`. What a command needs is imported when it runs, so that each starts quickly."""

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deploy.keys_commands import keys
from deploy.trouble import Trouble

if TYPE_CHECKING:
    from deploy.up import Installation
    from shared.settings import Service

app = typer.Typer(
    name="fangxian",
    help="Fangxian 防线: the backend a sub-district runs its epidemic control on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Data directory; ~/.local/share/fangxian if not given.", show_default=False),
]
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

    alone.serve(_known(service), host, port)


@app.command()
def work(service: OneService) -> None:
    """Do one service's background work in this process, with FANGXIAN_… in the environment, until SIGTERM."""
    from deploy import alone

    alone.work(_known(service))


@app.command()
def status(data: Data = None) -> None:
    """Show what runs. Ends with 1 if nothing does."""
    from rich.console import Console
    from rich.table import Table

    from deploy import data as directories
    from deploy import status as states

    directory = directories.at(data or directories.default_path())
    state = states.read(directory.status)
    if directories.holder(directory) is None:
        raise Trouble(f"Nothing runs on {directory.path}: start it with `fangxian up`.")
    if state is None:
        raise Trouble(f"Fangxian is starting on {directory.path}.")
    table = Table("process", "pid", "state", "for", "restarts", "memory", box=None, title_justify="left")
    for row in states.rows(state):
        table.add_row(*row)
    Console().print(table)


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
        str | None, typer.Argument(help="gateway, gateway-worker, …, postgres, supervisor; or all.")
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
    if process is not None and process not in known:
        raise Trouble(f"There is no log of {process} in {directory}: there are {', '.join(known) or 'none'}.")
    names = [process] if process else known
    for line in files.show(directory, names, lines):
        typer.echo(line)
    if follow:
        for line in files.follow(directory, names):
            typer.echo(line)


feed = typer.Typer(help="The feeds: how far they are read, what is parked, and reading anew.", no_args_is_help=True)
app.add_typer(feed, name="feed")


@feed.command("lag")
def feed_lag(data: Data = None) -> None:
    """Show how far each service has read the feeds it follows."""
    from deploy import feed as feeds
    from deploy.up import options

    rows = feeds.lag(feeds.installed(options(data)))
    _print_table(
        ("reader", "owner", "lane", "entries behind", "oldest"),
        [(row.reader, row.owner, row.lane, str(row.entries), str(row.oldest or "")) for row in rows],
    )


@feed.command("parked")
def feed_parked(data: Data = None) -> None:
    """Show what could not be handled. Ends with 1 if there is any."""
    from deploy import feed as feeds
    from deploy.up import options

    rows = feeds.parked(feeds.installed(options(data)))
    _print_table(
        ("service", "type", "subject", "version", "error", "attempts", "since"),
        [(r.service, r.type, r.subject, str(r.version), r.error, str(r.attempts), str(r.parked_at)) for r in rows],
    )
    if rows:
        raise typer.Exit(1)


@feed.command("retry")
def feed_retry(data: Data = None) -> None:
    """Try again what is parked."""
    from deploy import feed as feeds
    from deploy.up import options

    typer.echo(f"{feeds.retry(feeds.installed(options(data)))} entries were tried again.")


@feed.command("rebuild")
def feed_rebuild(
    service: Annotated[str, typer.Argument(help="The service that reads anew.")],
    owner: Annotated[str, typer.Argument(help="The service whose resources it reads.")],
    data: Data = None,
) -> None:
    """Fill what a service holds of another's resources anew, while it goes on."""
    from deploy import feed as feeds
    from deploy.up import options

    count = feeds.rebuild(feeds.installed(options(data)), _known(service), _known(owner))
    typer.echo(f"{service} holds {count} subjects of {owner}, read anew.")


def _known(name: str) -> "Service":
    from shared.settings import SERVICES

    for service in SERVICES:
        if service == name:
            return service
    raise Trouble(f"There is no service {name}: there are {', '.join(SERVICES)}.")


app.add_typer(keys, name="keys")


audit = typer.Typer(help="The audit: its export, and its verification.", no_args_is_help=True)
app.add_typer(audit, name="audit")
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

    if service is not None and service not in SERVICES:
        raise Trouble(f"There is no service {service}: there are {', '.join(SERVICES)}.")
    services = [one for one in SERVICES if service in (None, one)]
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


clients = typer.Typer(
    help="The programs that sign people in, and the machines that sign in themselves.", no_args_is_help=True
)
app.add_typer(clients, name="clients")


@clients.command("list")
def clients_list(data: Data = None) -> None:
    """Show who is registered."""
    from deploy import administration

    _print_table(
        ("client", "kind", "role", "party", "region", "revoked"), administration.list_clients(_owner_url(data))
    )


@clients.command("add")
def clients_add(
    client_id: Annotated[str, typer.Argument(help="Its name: small letters, digits, `.`, `_`, `-`.")],
    name: Annotated[str, typer.Option(help="As people see it.")],
    region: Annotated[str, typer.Option(help="Whom it serves; the whole if not given.")] = "",
    redirect: Annotated[
        list[str] | None, typer.Option(help="Where people are sent back to: makes it an app. May be given often.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="laboratory, hospital, …: makes it a machine.")] = None,
    party: Annotated[str, typer.Option(help="Of a machine: whose tubes, episodes or lists.")] = "",
    data: Data = None,
) -> None:
    """Register a client. A machine's secret is shown this once."""
    from deploy import administration

    kind = "app" if redirect else "machine"
    given = {"kind": kind, "name": name, "region": region, "redirect_uris": redirect or [], "role": role}
    secret = administration.add_client(_owner_url(data), client_id=client_id, party=party, **given)
    typer.echo(secret or f"{client_id} is registered; it needs no secret, and proves itself by PKCE.")


@clients.command("rotate")
def clients_rotate(client_id: str, data: Data = None) -> None:
    """Give a machine another secret, shown this once. The one before stays good for a day."""
    from deploy import administration

    typer.echo(administration.rotate_client(_owner_url(data), client_id))


@clients.command("revoke")
def clients_revoke(client_id: str, data: Data = None) -> None:
    """Let a client sign in no more; what it was given stops working within a second."""
    from deploy import administration

    administration.revoke_client(_owner_url(data), client_id)
    typer.echo(f"{client_id} signs in no more.")


def _owner_url(data: Path | None) -> str:
    from deploy import feed as feeds
    from deploy.up import options

    return feeds.installed(options(data)).owner_url


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


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
    """Run a command. Trouble is one sentence on stderr and an exit code that is not 0."""
    try:
        command()
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        sys.exit(trouble.code)
    except BrokenPipeError:  # `fangxian logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def main() -> NoReturn:
    """The console script."""
    main_of(app)


if __name__ == "__main__":
    main()
