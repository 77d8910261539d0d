"""`fangxian keys`: which keys there are, and how one takes another's place. Nothing has to be stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands import Data, installed, print_table
from deploy.trouble import Trouble

if TYPE_CHECKING:
    from deploy.up import Installation

keys = typer.Typer(
    help="List, rotate, revoke and destroy keys while everything runs.", no_args_is_help=True, rich_markup_mode=None
)

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND", help="master, data, index, issuer, code, or a service: registry, testing, observation, gateway."
    ),
]


@keys.command("list")
def keys_list(data: Data = None) -> None:
    """List all keys by id, with state, validity and wrapping key. The keys themselves are never shown."""
    import asyncio

    from deploy.key_listing import rows_of

    rows = asyncio.run(rows_of(installed(data)))
    print_table(("key", "id", "state", "from (UTC)", "until (UTC)", "wrapped by"), rows)


@keys.command("make")
def keys_make(directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to create.")]) -> None:
    """Create the keys of an installation that runs without `up`. Existing keys are not changed."""
    from deploy import keys as files

    if files.make_apart(directory):
        typer.echo(f"The keys are in {directory}: back them up apart from the database.")
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
            help="Seconds until the new key signs. Default: as long as others may cache the public keys.",
            show_default=False,
            min=0,
        ),
    ] = None,
) -> None:
    """Replace the current key by a new one while everything runs. If it was interrupted, run it again."""
    from deploy import key_versions

    _need_kind(kind)
    installation = installed(data)
    if kind not in key_versions.BEGINS_IN:
        _with(installation, kind)
        return
    new, begins, ends = key_versions.rotate_signing(installation.directory.keys, kind, begins_in)
    typer.echo(f"{kind} signs with {new.id} from {_time(begins)}; what came before is trusted until {_time(ends)}.")


@keys.command("revoke")
def keys_revoke(
    kind: Kind,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The id that `fangxian keys list` shows.")],
    data: Data = None,
) -> None:
    """Revoke a key immediately; everything it signed becomes invalid.

    A key that still encrypts data is not revoked.
    """
    import asyncio

    from deploy import key_versions
    from deploy.rotation import Rotation, with_rotation

    _need_kind(kind)
    installation = installed(data)
    if kind == "index":
        raise Trouble("An index key ends with its rotation: `fangxian keys rotate index`.")

    async def revoke(rotation: Rotation) -> None:
        if kind == "data":
            await rotation.revoke_data(key_id)
            return
        if kind == "master" and await rotation.masters_in_use() & {key_id, ""}:
            raise Trouble(f"Data keys are wrapped by master key {key_id}: rotate it first.")
        key_versions.remove(installation.directory.keys, kind, key_id)

    asyncio.run(with_rotation(installation, typer.echo, revoke))
    typer.echo(f"{kind} key {key_id} is revoked.")


@keys.command("destroy")
def keys_destroy(
    data: Data = None,
    month: Annotated[
        list[int] | None,
        typer.Option(metavar="YYYYMM", help="A month whose data is destroyed, as in 202101; may be repeated."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
) -> None:
    """Irreversibly destroy personal data by destroying its keys. Asks twice.

    Names, numbers, phones and addresses of those months are shown as destroyed from then on. Backups made before
    can no longer be opened, whatever their months: make a new one.
    """
    if bool(month) == everything:
        raise Trouble("Say which: --month 202101, or --all.")
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

    acts = {"master": Rotation.rotate_master, "data": Rotation.rotate_data, "index": Rotation.rotate_index}
    asyncio.run(with_rotation(installation, typer.echo, acts[kind]))


def _need_kind(kind: str) -> None:
    from deploy.key_versions import KINDS

    if kind not in KINDS:
        raise Trouble(f"There is no key {kind}: there are {', '.join(KINDS)}.")


def _time(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
