"""The steps of `fangxian sunset`, in order. If it was interrupted, run it again."""

import asyncio
import getpass
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.audit import export
from deploy.feed import installed
from deploy.rotation import Rotation, with_rotation
from deploy.sunset import report
from deploy.sunset.destruction import Destruction
from deploy.trouble import Trouble
from deploy.up import Options
from shared.audit.kinds import Kind
from shared.core import clock
from shared.core.settings import SERVICES
from shared.crypto.tokens import Signer

RECORD_IN_AUDIT = """
    INSERT INTO {s}.audit (
        epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects
    )
    VALUES (
        (SELECT max(epoch) FROM {s}.feed_epochs), $1, 'fangxian sunset', 'sunset', $2, 'owner', '', '~', '', $3, '',
        '{{}}'
    )
"""
Notify = Callable[[str], None]


def declared(options: Options) -> Any:
    """Return the declaration of two people. Raises Trouble if they have not declared the end."""
    return _run(options, lambda _: None, Destruction.declared)


def sunset(options: Options, out: Path, notify: Notify) -> None:
    """Save the audit, delete the data, destroy the keys, write the report. Raises Trouble without a declaration."""
    declared(options)
    out.mkdir(parents=True, exist_ok=True)
    progress = _run(options, notify, Destruction.progress)
    if "report" not in progress:
        keep_audit(options, out, notify)
    report.write(progress.get("report") or _run(options, notify, _destroy), out)
    notify(f"The report is in {out}. Store it and the audit beside it elsewhere.")


def keep_audit(options: Options, out: Path, notify: Notify) -> None:
    """Write the audit of every day to files and check them. Raises Trouble if a check fails."""
    for day in export.chained_days(options):
        path = out / f"audit-{day}.jsonl"
        count = export.export(options, day, SERVICES, path)
        if export.verify(options, path, [], None):
            raise Trouble(f"The audit of {day} is not valid, see {path}. Nothing was destroyed.")
        notify(f"{count} entries of {day} are in {path} (SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}).")


async def _destroy(one: Destruction) -> dict[str, Any]:
    await one.stop_collecting()
    await one.purge()
    await one.destroy_keys()
    counts = (
        {service: await one.removed(service) for service in SERVICES},
        {service: await one.remaining(service) for service in SERVICES},
    )
    made = report.report_of(await one.declared(), counts, await one.holds(), await one.destroyed(), clock.now())
    keys = one.rotation.keys / "gateway"
    done = report.finished(made, Signer.from_files("gateway", keys))
    async with one.connection.transaction():
        for service in SERVICES:
            reason = f"{sum(counts[0][service].values())} rows; report {done['hash']}"
            statement = RECORD_IN_AUDIT.format(s=service)
            await one.connection.execute(statement, Kind.PURGE.value, f"owner:{getpass.getuser()}", reason)
        await one.note(report=done)
    return done


def _run(options: Options, notify: Notify, act: Callable[[Destruction], Any]) -> Any:
    async def within(rotation: Rotation) -> Any:
        return await act(Destruction(rotation))

    return asyncio.run(with_rotation(installed(options), notify, within))
