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

    columns = ("client", "name", "kind", "for", "role", "party", "region", "redirect", "revoked")
    print_table(columns, administration.list_clients(installed(data).owner_url))


@clients.command("add")
def clients_add(
    client_id: Annotated[str, typer.Argument(help="Its name: small letters, digits, `.`, `_`, `-`.")],
    name: Annotated[str, typer.Option(help="As people see it.")],
    region: Annotated[str, typer.Option(help="Whom it serves; the whole if not given.")] = "",
    redirect: Annotated[
        list[str] | None, typer.Option(help="Where people are sent back to: makes it an app. May be given often.")
    ] = None,
    people: Annotated[
        str,
        typer.Option("--for", help="Who signs in by an app: staff, residents or everyone. Its page has their form."),
    ] = "everyone",
    by_phone: Annotated[
        bool,
        typer.Option(
            "--by-phone", help="Makes it an app of residents without pages: by a code to their phone or a mini-program."
        ),
    ] = False,
    role: Annotated[
        str | None,
        typer.Option(
            help="Makes it a machine: laboratory, hospital, desk_120, municipal, doorkeeper or checkpoint.",
            show_default=False,
        ),
    ] = None,
    party: Annotated[str, typer.Option(help="Of a machine: whose tubes, episodes or lists.")] = "",
    data: Data = None,
) -> None:
    """Register a client. A machine's secret is shown this once."""
    from deploy import administration
    from services.gateway.clients.schemas import ROLES

    if not (redirect or role or by_phone):
        raise Trouble(
            "Say which: --redirect makes an app, by which people sign in; --by-phone makes one of residents without "
            "pages; --role and --party make a machine, "
            f"which signs in itself, as {', '.join(ROLES)}."
        )
    if role and (redirect or by_phone):
        raise Trouble(
            "Say one of --redirect, --by-phone and --role: an app has no role, and nobody signs in by a machine."
        )
    if by_phone and redirect:
        raise Trouble("Say one of --by-phone and --redirect: an app with pages takes codes to phones there too.")
    kind = "machine" if role else "app"
    people = "residents" if by_phone and people == "everyone" else people
    given = {"kind": kind, "name": name, "region": region, "redirect_uris": redirect or [], "role": role}
    given["people"] = people
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
