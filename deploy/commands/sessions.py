"""`fangxian sign-in`, `token` and `sign-out`: the session of a person in a shell."""

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Address of the gateway. Default: $FANGXIAN, otherwise http://127.0.0.1:8000.",
        show_default=False,
    ),
]


def sign_in(url: Url = None) -> None:
    """Sign in as a person, once per shift. It works over SSH, with a browser on any device.

    Example: fangxian sign-in --url https://fangxian.example.cn
    """
    from deploy.session import Session

    session = Session.at(url)
    session.sign_in(_show)
    typer.echo(f"Signed in to {session.url}. `fangxian token` prints a token for scripts.", err=True)


def token(url: Url = None) -> None:
    """Print a valid access token of the session, for scripts.

    Example: curl -H "Authorization: Bearer $(fangxian token)" http://127.0.0.1:8000/oauth/userinfo
    """
    from deploy.session import Session

    typer.echo(Session.at(url).token())


def sign_out(url: Url = None) -> None:
    """End the session on this machine and at the gateway.

    Example: fangxian sign-out
    """
    from deploy.session import Session

    session = Session.at(url)
    outcome = "Signed out of" if session.sign_out() else "You were not signed in to"
    typer.echo(f"{outcome} {session.url}.", err=True)


def _show(address: str, code: str) -> None:
    import webbrowser

    typer.echo(f"Open {address}\nand check that the page shows the code {code}. Waiting …", err=True)
    try:
        webbrowser.get()
    except webbrowser.Error:
        return
    webbrowser.open(address)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the console script."""
    app.command("sign-in")(sign_in)
    app.command("token")(token)
    app.command("sign-out")(sign_out)
