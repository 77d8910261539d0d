"""`fangxian clients`: the programs that sign people in, and the machines that sign in themselves."""

from typing import Annotated

import typer

from deploy.commands import Data, installed, print_table
from deploy.trouble import Trouble

clients = typer.Typer(
    help="Applications and machines that sign in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


A_ROLE = "Of a machine: laboratory, hospital, desk_120, municipal, doorkeeper or checkpoint."
ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="The id that `clients list` shows.")]


@clients.command("list")
def clients_list(data: Data = None) -> None:
    """List the registered clients."""
    from deploy import administration

    columns = ("client", "name", "kind", "for", "role", "party", "region", "redirect", "revoked")
    print_table(columns, administration.list_clients(installed(data).owner_url))


@clients.command("add")
def clients_add(
    client_id: Annotated[
        str, typer.Argument(metavar="CLIENT_ID", help="Its id: lower-case letters, digits, `.`, `_`, `-`.")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="The name that people see.")],
    region: Annotated[
        str, typer.Option(metavar="CODE", help="The region it may access; all regions if not given.")
    ] = "",
    redirect: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="For an app: the address to return to after sign-in. May be repeated."),
    ] = None,
    people: Annotated[
        str,
        typer.Option("--for", metavar="WHO", help="For an app: who signs in, staff, residents or everyone."),
    ] = "everyone",
    by_phone: Annotated[
        bool,
        typer.Option(
            "--by-phone", help="An app for residents without web pages: sign-in by phone code or mini-program."
        ),
    ] = False,
    role: Annotated[str | None, typer.Option(metavar="ROLE", help=A_ROLE)] = None,
    party: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="For a machine: its laboratory (lab-…), hospital (hospital-…), 120 desk (desk_120) or city system; "
            "for a door: the id of its service point.",
        ),
    ] = "",
    data: Data = None,
) -> None:
    """Register a client: an app by --redirect, a machine by --role.

    The secret of a machine is shown only once.

    Examples:

    fangxian clients add console --name 指挥部 --redirect https://console.example.cn/signed-in

    fangxian clients add lab-1 --name 市医院检验科 --role laboratory --party lab-1
    """
    from deploy import administration
    from services.gateway.clients.schemas import ROLES

    if not (redirect or role or by_phone):
        raise Trouble(
            "Choose one: --redirect for an app in which people sign in; --by-phone for an app for residents without "
            f"web pages; --role and --party for a machine. Roles: {', '.join(ROLES)}."
        )
    if role and (redirect or by_phone):
        raise Trouble(
            "Use only one of --redirect, --by-phone and --role: an app has no role, and a machine signs in no people."
        )
    if by_phone and redirect:
        raise Trouble("Use only one of --by-phone and --redirect: an app with web pages offers phone codes too.")
    kind = "machine" if role else "app"
    people = "residents" if by_phone and people == "everyone" else people
    given = {"kind": kind, "name": name, "region": region, "redirect_uris": redirect or [], "role": role}
    given["people"] = people
    secret = administration.add_client(installed(data).owner_url, client_id=client_id, party=party, **given)
    by = "its people sign in with codes to phones or a mini-program" if by_phone else "it proves itself by PKCE"
    typer.echo(secret or f"{client_id} is registered; it needs no secret: {by}.")


@clients.command("rotate")
def clients_rotate(client_id: ClientId, data: Data = None) -> None:
    """Create a new secret for a machine. The old one stays valid for a day."""
    from deploy import administration

    typer.echo(administration.rotate_client(installed(data).owner_url, client_id))


@clients.command("revoke")
def clients_revoke(client_id: ClientId, data: Data = None) -> None:
    """Revoke a client; its tokens stop working within a second."""
    from deploy import administration

    administration.revoke_client(installed(data).owner_url, client_id)
    typer.echo(f"{client_id} is revoked.")
