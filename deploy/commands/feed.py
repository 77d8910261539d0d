"""`fangxian feed`: how far the feeds are read, what is parked, and reading anew."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.commands import Data, installed, print_table, service_named

feed = typer.Typer(help="The feeds: how far they are read, what is parked, and reading anew.", no_args_is_help=True)


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
    """Show what could not be handled. Ends with 1 if there is any."""
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
    """Try again what is parked."""
    from deploy import feed as feeds

    typer.echo(f"{feeds.retry(installed(data))} entries were tried again.")


@feed.command("rebuild")
def feed_rebuild(
    service: Annotated[str, typer.Argument(help="The service that reads anew.")],
    owner: Annotated[str, typer.Argument(help="The service whose resources it reads.")],
    data: Data = None,
) -> None:
    """Fill what a service holds of another's resources anew, while it goes on."""
    from deploy import feed as feeds

    count = feeds.rebuild(installed(data), service_named(service), service_named(owner))
    typer.echo(f"{service} holds {count} subjects of {owner}, read anew.")


def _age(time: datetime | None) -> str:
    from deploy.status import span

    return span(max(0.0, (datetime.now(UTC) - time).total_seconds()) if time else 0)
