"""`fangxian feed`: how far the feeds are read, what is parked, and reading anew."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.commands import Data, installed, print_table, service_named

feed = typer.Typer(
    help="Feeds between the services: progress, failed entries, rebuilding.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


SERVICES = "registry, testing, observation or gateway"


@feed.command("lag")
def feed_lag(data: Data = None) -> None:
    """Show how far each service has read the feeds it follows."""
    from deploy import feed as feeds

    rows = feeds.lag(installed(data))
    print_table(
        ("reader", "owner", "lane", "entries behind", "age of the oldest"),
        [(row.reader, row.owner, row.lane, str(row.entries), _age(row.oldest)) for row in rows],
    )


@feed.command("parked")
def feed_parked(data: Data = None) -> None:
    """List entries that could not be processed. Exit code 1 if there are any."""
    from deploy import feed as feeds

    rows = feeds.parked(installed(data))
    print_table(
        ("service", "type", "subject", "version", "error", "attempts", "since"),
        [(r.service, r.type, r.subject, str(r.version), r.error, str(r.attempts), str(r.parked_at)) for r in rows],
    )
    if rows:
        raise typer.Exit(1)


@feed.command("retry")
def feed_retry(data: Data = None) -> None:
    """Retry the entries that could not be processed."""
    from deploy import feed as feeds

    typer.echo(f"{feeds.retry(installed(data))} entries were tried again.")


@feed.command("rebuild")
def feed_rebuild(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help=f"The service whose copy is rebuilt: {SERVICES}.")],
    owner: Annotated[str, typer.Argument(metavar="OWNER", help=f"The service that owns the data: {SERVICES}.")],
    data: Data = None,
) -> None:
    """Rebuild a service's copy of another service's data, while both run.

    Example: fangxian feed rebuild gateway registry
    """
    from deploy import feed as feeds

    count = feeds.rebuild(installed(data), service_named(service), service_named(owner))
    typer.echo(f"{service} holds {count} subjects of {owner}.")


def _age(time: datetime | None) -> str:
    from deploy.status import span

    return span(max(0.0, (datetime.now(UTC) - time).total_seconds()) if time else 0)
