"""`fangxian clients`: the programs that sign people in, and the machines that sign in themselves."""

from typing import Annotated

import typer

from deploy.commands import Data, installed, print_table
from deploy.trouble import Trouble

clients = typer.Typer(
    help="The programs that sign people in, and the machines that sign in themselves.", no_args_is_help=True
)


@clients.command("list")
def clients_list(data: Data = None) -> None:
    """Show who is registered."""
    from deploy import administration

    print_table(
        ("client", "kind", "role", "party", "region", "revoked"), administration.list_clients(installed(data).owner_url)
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
    party: Annotated[
        str,
        typer.Option(
            help="Of a machine: whose tubes, episodes or lists (lab-…, hospital-…, desk_120, a city's name); of a door "
            "the id of its service point."
        ),
    ] = "",
    data: Data = None,
) -> None:
    """Register a client. A machine's secret is shown this once."""
    from deploy import administration
    from services.gateway.clients.schemas import ROLES

    if not (redirect or role):
        raise Trouble(
            "Say which: --redirect makes an app, by which people sign in; --role and --party make a machine, "
            f"which signs in itself, as {', '.join(ROLES)}."
        )
    kind = "app" if redirect else "machine"
    given = {"kind": kind, "name": name, "region": region, "redirect_uris": redirect or [], "role": role}
    secret = administration.add_client(installed(data).owner_url, client_id=client_id, party=party, **given)
    typer.echo(secret or f"{client_id} is registered; it needs no secret, and proves itself by PKCE.")


@clients.command("rotate")
def clients_rotate(client_id: str, data: Data = None) -> None:
    """Give a machine another secret, shown this once. The one before stays good for a day."""
    from deploy import administration

    typer.echo(administration.rotate_client(installed(data).owner_url, client_id))


@clients.command("revoke")
def clients_revoke(client_id: str, data: Data = None) -> None:
    """Let a client sign in no more; what it was given stops working within a second."""
    from deploy import administration

    administration.revoke_client(installed(data).owner_url, client_id)
    typer.echo(f"{client_id} signs in no more.")
