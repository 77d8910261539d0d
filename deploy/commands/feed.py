"""`fangxian feed`: show the progress of the feeds, retry failed entries, rebuild a copy."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.commands import Data, installed, print_table, service_named

feed = typer.Typer(
    help="""Show feed progress, retry failed entries, rebuild copies.

    The services read changes from each other through feeds: docs/feed.md.

    Example: fangxian feed lag
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)


SERVICES = "registry, testing, observation or gateway"


@feed.command("lag")
def feed_lag(data: Data = None) -> None:
    """Show how far each service has read the feeds that it follows.

    Example: fangxian feed lag
    """
    from deploy import feed as feeds

    rows = feeds.lag(installed(data))
    print_table(
        ("reader", "owner", "lane", "entries behind", "age of the oldest"),
        [(row.reader, row.owner, row.priority, str(row.entries), _age(row.oldest)) for row in rows],
    )


@feed.command("parked")
def feed_dead_letters(data: Data = None) -> None:
    """List the entries that could not be processed. Exit code 1 if there are any.

    Example: fangxian feed parked
    """
    from deploy import feed as feeds

    rows = feeds.dead_letters(installed(data))
    print_table(
        ("service", "type", "subject", "version", "error", "attempts", "since"),
        [(r.service, r.type, r.subject, str(r.version), r.error, str(r.attempts), str(r.parked_at)) for r in rows],
    )
    if rows:
        raise typer.Exit(1)


@feed.command("retry")
def feed_retry(data: Data = None) -> None:
    """Retry the entries that could not be processed. Correct the cause first.

    Example: fangxian feed retry
    """
    from deploy import feed as feeds

    typer.echo(f"{feeds.retry(installed(data))} entries were retried.")


@feed.command("rebuild")
def feed_rebuild(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help=f"Service whose copy is rebuilt: {SERVICES}.")],
    owner: Annotated[str, typer.Argument(metavar="OWNER", help=f"Service that owns the data: {SERVICES}.")],
    data: Data = None,
) -> None:
    """Rebuild the copy that one service keeps of another service's data, while both run.

    Example: fangxian feed rebuild gateway registry
    """
    from deploy import feed as feeds

    count = feeds.rebuild(installed(data), service_named(service), service_named(owner))
    typer.echo(f"{service} now holds {count} subjects of {owner}.")


def _age(time: datetime | None) -> str:
    from deploy.status import span

    return span(max(0.0, (datetime.now(UTC) - time).total_seconds()) if time else 0)
