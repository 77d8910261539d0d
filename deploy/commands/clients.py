"""`fangxian clients`: register and revoke OAuth clients (applications and machines)."""

from typing import Annotated

import typer

from deploy.commands import Data, installed, print_table
from deploy.trouble import Trouble

clients = typer.Typer(
    help="""Manage clients: apps in which people sign in, and machines.

    Example: fangxian clients list
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)


A_ROLE = "For a machine: laboratory, hospital, desk_120, municipal, doorkeeper or checkpoint."
ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="Id of the client, from `fangxian clients list`.")]


@clients.command("list")
def clients_list(data: Data = None) -> None:
    """List the registered clients.

    Example: fangxian clients list
    """
    from deploy import administration

    columns = ("client", "name", "kind", "for", "role", "party", "region", "redirect", "revoked")
    print_table(columns, administration.list_clients(installed(data).owner_url))


@clients.command("add")
def clients_add(
    client_id: Annotated[
        str,
        typer.Argument(metavar="CLIENT_ID", help="Id of the new client: lower-case letters, digits, `.`, `_`, `-`."),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name that people see.")],
    region: Annotated[
        str, typer.Option(metavar="CODE", help="Region that the client may access. Default: all regions.")
    ] = "",
    redirect: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="For an app: address to return to after sign-in. Can be repeated."),
    ] = None,
    people: Annotated[
        str,
        typer.Option("--for", metavar="WHO", help="For an app: who signs in with it (staff, residents or everyone)."),
    ] = "everyone",
    by_phone: Annotated[
        bool,
        typer.Option(
            "--by-phone", help="For an app without web pages: residents sign in by phone code or mini-program."
        ),
    ] = False,
    role: Annotated[str | None, typer.Option(metavar="ROLE", help=A_ROLE)] = None,
    party: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="For a machine: its laboratory (lab-…), hospital (hospital-…), 120 desk (desk_120) or city system. "
            "For a doorkeeper or checkpoint: the id of its service point.",
        ),
    ] = "",
    data: Data = None,
) -> None:
    """Register a client: an app with --redirect or --by-phone, a machine with --role.

    The secret of a machine is printed only once.

    Examples:

    fangxian clients add console --name 指挥部 --redirect https://console.example.cn/signed-in

    fangxian clients add lab-1 --name 市医院检验科 --role laboratory --party lab-1
    """
    from deploy import administration
    from services.gateway.clients.schemas import ROLES

    if not (redirect or role or by_phone):
        raise Trouble(
            "Choose one: --redirect for an app in which people sign in; --by-phone for an app without web pages, for "
            f"residents; --role and --party for a machine. Roles: {', '.join(ROLES)}."
        )
    if role and (redirect or by_phone):
        raise Trouble(
            "Use only one of --redirect, --by-phone and --role: an app has no role, and people do not sign in with a "
            "machine."
        )
    if by_phone and redirect:
        raise Trouble("Use only one of --by-phone and --redirect: an app with --redirect offers phone codes too.")
    kind = "machine" if role else "app"
    people = "residents" if by_phone and people == "everyone" else people
    given = {"kind": kind, "name": name, "region": region, "redirect_uris": redirect or [], "role": role}
    given["people"] = people
    secret = administration.add_client(installed(data).owner_url, client_id=client_id, party=party, **given)
    how = "residents sign in with a phone code or a mini-program" if by_phone else "it signs people in with PKCE"
    typer.echo(secret or f"{client_id} is registered. It needs no secret, because {how}.")


@clients.command("rotate")
def clients_rotate(client_id: ClientId, data: Data = None) -> None:
    """Create a new secret for a machine, and print it. The old one stays valid for a day.

    Example: fangxian clients rotate lab-1
    """
    from deploy import administration

    typer.echo(administration.rotate_client(installed(data).owner_url, client_id))


@clients.command("revoke")
def clients_revoke(client_id: ClientId, data: Data = None) -> None:
    """Revoke a client. Its tokens stop working within a second.

    Example: fangxian clients revoke lab-1
    """
    from deploy import administration

    administration.revoke_client(installed(data).owner_url, client_id)
    typer.echo(f"{client_id} is revoked.")
