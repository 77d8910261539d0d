"""`fangxian keys`: list, create, rotate, revoke and destroy keys. All except `make` work while everything runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands import Data, installed, print_table
from deploy.trouble import Trouble

if TYPE_CHECKING:
    from deploy.up import Installation

keys = typer.Typer(
    help="""List, rotate, revoke and destroy keys while everything runs.

    Example: fangxian keys list
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="Kind of key: master, data, index, issuer, code, or a service (registry, testing, observation, gateway).",
    ),
]


@keys.command("list")
def keys_list(data: Data = None) -> None:
    """List all keys by id, with state, validity and wrapping key. The keys themselves are never shown.

    Example: fangxian keys list
    """
    import asyncio

    from deploy.key_listing import rows_of

    rows = asyncio.run(rows_of(installed(data)))
    print_table(("key", "id", "state", "from (UTC)", "until (UTC)", "wrapped by"), rows)


@keys.command("make")
def keys_make(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to create.")]) -> None:
    """Create the keys of an installation that runs without `up`. Existing keys are not changed.

    Example: fangxian keys make /srv/fangxian-keys
    """
    from deploy import keys as files

    if files.make_apart(directory):
        typer.echo(f"The keys are in {directory}. Back them up separately from the database.")
    else:
        typer.echo(f"The keys in {directory} already exist and were not changed.")


@keys.command("rotate")
def keys_rotate(
    kind: Kind,
    data: Data = None,
    begins_in: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Seconds until the new key signs. Default: the time for which others may cache the public keys.",
            show_default=False,
            min=0,
        ),
    ] = None,
) -> None:
    """Replace the current key by a new one while everything runs. If the command was interrupted, run it again.

    Example: fangxian keys rotate issuer
    """
    from deploy import key_versions

    _need_kind(kind)
    installation = installed(data)
    if kind not in key_versions.BEGINS_IN:
        _with(installation, kind)
        return
    new, begins, ends = key_versions.rotate_signing(installation.directory.keys, kind, begins_in)
    typer.echo(f"{kind} signs with {new.id} from {_time(begins)}. Older keys are trusted until {_time(ends)}.")


@keys.command("revoke")
def keys_revoke(
    kind: Kind,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key, from `fangxian keys list`.")],
    data: Data = None,
) -> None:
    """Revoke a key immediately. Everything that it signed becomes invalid.

    A key that still encrypts data cannot be revoked: rotate it first.

    Example: fangxian keys revoke issuer KEY_ID
    """
    import asyncio

    from deploy import key_versions
    from deploy.rotation import Rotation, with_rotation

    _need_kind(kind)
    installation = installed(data)
    if kind == "index":
        raise Trouble(
            "An index key cannot be revoked. `fangxian keys rotate index` replaces it and deletes the old one."
        )

    async def revoke(rotation: Rotation) -> None:
        if kind == "data":
            await rotation.revoke_data(key_id)
            return
        if kind == "master" and await rotation.master_keys_in_use() & {key_id, ""}:
            raise Trouble(f"Master key {key_id} still wraps data keys. Rotate it first: `fangxian keys rotate master`.")
        key_versions.remove(installation.directory.keys, kind, key_id)

    asyncio.run(with_rotation(installation, typer.echo, revoke))
    typer.echo(f"{kind} key {key_id} is revoked.")


@keys.command("destroy")
def keys_destroy(
    data: Data = None,
    month: Annotated[
        list[int] | None,
        typer.Option(metavar="YYYYMM", help="Month whose data is destroyed, for example 202101. Can be repeated."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Destroy the data of all months.")] = False,
) -> None:
    """Irreversibly destroy personal data by destroying its keys. The command asks twice.

    Names, numbers, phones and addresses of these months can never be read again. No older backup can be decrypted any
    more, also for other months: make a new backup afterwards.

    Example: fangxian keys destroy --month 202101
    """
    if bool(month) == everything:
        raise Trouble("Use either --month (for example --month 202101) or --all.")
    installation = installed(data)
    what = "all" if everything else " ".join(str(one) for one in month or [])
    if typer.prompt(f"Type {what!r} to destroy it") != what or typer.prompt("Type 'destroy'") != "destroy":
        raise Trouble("Nothing was destroyed.")
    import asyncio

    from deploy.rotation import with_rotation

    months = None if everything else month
    asyncio.run(with_rotation(installation, typer.echo, lambda rotation: rotation.destroy(months)))


def _with(installation: "Installation", kind: str) -> None:
    import asyncio

    from deploy.rotation import Rotation, with_rotation

    acts = {"master": Rotation.rotate_master_key, "data": Rotation.rotate_data, "index": Rotation.rotate_index}
    asyncio.run(with_rotation(installation, typer.echo, acts[kind]))


def _need_kind(kind: str) -> None:
    from deploy.key_versions import KINDS

    if kind not in KINDS:
        raise Trouble(f"There is no kind of key {kind}. Choose one of: {', '.join(KINDS)}.")


def _time(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
