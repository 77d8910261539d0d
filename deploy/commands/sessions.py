"""`fangxian sign-in`, `token` and `sign-out`: a person's own session in a shell."""

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The address of the gateway. Default: $FANGXIAN, else http://127.0.0.1:8000.",
        show_default=False,
    ),
]


def sign_in(url: Url = None) -> None:
    """Sign in as a person, once per shift. Works over SSH, with a browser on any device."""
    from deploy.session import Session

    session = Session.at(url)
    session.sign_in(_show)
    typer.echo(f"Signed in to {session.url}. `fangxian token` prints a token for scripts.", err=True)


def token(url: Url = None) -> None:
    """Print a valid access token of the session: TOKEN=$(fangxian token)."""
    from deploy.session import Session

    typer.echo(Session.at(url).token())


def sign_out(url: Url = None) -> None:
    """End the session on this machine and at the gateway."""
    from deploy.session import Session

    session = Session.at(url)
    told = "Signed out of" if session.sign_out() else "You were not signed in to"
    typer.echo(f"{told} {session.url}.", err=True)


def _show(address: str, code: str) -> None:
    import webbrowser

    typer.echo(f"Open {address}\nand check that it shows the code {code}. Waiting ...", err=True)
    try:
        webbrowser.get()
    except webbrowser.Error:
        return
    webbrowser.open(address)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("sign-in")(sign_in)
    app.command("token")(token)
    app.command("sign-out")(sign_out)
