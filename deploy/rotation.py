"""Rotate, revoke and destroy the keys of a running installation."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from deploy import key_versions
from deploy.own_servers import as_role
from deploy.trouble import Trouble
from deploy.up import Installation
from shared.core.actors import system
from shared.core.clock import now as clock_now
from shared.core.ids import new_id
from shared.core.settings import SERVICES, Service, Settings
from shared.crypto.encryption import key_after, month_of
from shared.crypto.key_files import SPREAD_SECONDS
from shared.crypto.master_keys import (
    KeyWrapper,
    LocalKeyWrapper,
    MasterKeyError,
    VaultTransitKeyWrapper,
    Wrapped,
    key_wrapper_of,
)
from shared.jobs.queue import behalf_of

LOOK_SECONDS = 0.5
FOLLOWED_SECONDS = 5.0
"""After this time every process has seen a change: they check every two seconds."""

Notify = Callable[[str], None]

REINDEX = "reindex"
SELECT_LIVE_KEYS = "SELECT id, month FROM {service}.data_keys WHERE wrapped IS NOT NULL ORDER BY id"
INSERT_DATA_KEY = """
    INSERT INTO {service}.data_keys (id, month, master, wrapped, seals_from)
    VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
"""
DESTROY_DATA_KEYS = "UPDATE {service}.data_keys SET wrapped = NULL, destroyed_at = now() WHERE id = ANY($1)"
INSERT_JOB = """
    INSERT INTO {service}.jobs (id, region, kind, actor, input) VALUES ($1, '', $2, $3::jsonb, $4::jsonb)
"""
SELECT_JOB = "SELECT state, done, error FROM {service}.jobs WHERE id = $1"


@dataclass
class Rotation:
    """The keys of an installation, a connection of the database's owner, and a function that prints progress."""

    installation: Installation
    connection: asyncpg.Connection
    key_wrapper: KeyWrapper
    notify: Notify

    @property
    def keys(self) -> Path:
        """The directory of the key files."""
        return self.installation.directory.keys

    @property
    def settings(self) -> Settings:
        """The settings of the registry. All services have the same settings for keys."""
        return self.installation.settings("registry")

    async def wait(self, seconds: float) -> None:
        """Wait until every process has seen a change."""
        await asyncio.sleep(seconds * self.settings.key_waits)

    # The master key -----------------------------------------------------------------------------------------------

    async def rotate_master_key(self) -> None:
        """Add a new version, and wrap all data keys with it. The old one can unwrap until it is revoked."""
        if isinstance(self.key_wrapper, VaultTransitKeyWrapper):
            await self.key_wrapper.rotate()
        elif self.settings.master_keys == "file":
            key_versions.add_symmetric(self.keys, "master")
        await self.rewrap()

    async def rewrap(self) -> None:
        """Wrap every data key with the newest version of the master key."""
        from shared.crypto import data_keys

        newest, count = await self.key_wrapper.newest(), 0
        for service in SERVICES:
            rows = await self.connection.fetch(
                f"SELECT id, master, wrapped FROM {service}.data_keys WHERE wrapped IS NOT NULL AND master <> $1",  # noqa: S608
                newest,
            )
            for row in rows:
                bound_to = data_keys.bound_to(service, row["id"])
                key = await self._unwrapped(Wrapped(row["master"], row["wrapped"]), bound_to)
                wrapped = await self.key_wrapper.wrap(key, bound_to)
                # If the key was destroyed meanwhile, it stays destroyed.
                await self.connection.execute(
                    f"UPDATE {service}.data_keys SET master = $2, wrapped = $3 WHERE id = $1 AND wrapped IS NOT NULL",  # noqa: S608
                    row["id"],
                    wrapped.master,
                    wrapped.key,
                )
                count += 1
        self.notify(f"{count} data keys are wrapped by master key {newest}.")

    async def _unwrapped(self, wrapped: Wrapped, bound_to: bytes) -> bytes:
        """Unwrap a data key, also one wrapped with the master key of the file while it is moved into a KMS."""
        try:
            return await self.key_wrapper.unwrap(wrapped, bound_to)
        except MasterKeyError:
            return await LocalKeyWrapper.from_file(self.keys / "owner" / "master.key").unwrap(wrapped, bound_to)

    async def master_keys_in_use(self) -> set[str]:
        """Return the versions of the master key that still wrap a data key."""
        key_wrapper: set[str] = set()
        for service in SERVICES:
            rows = await self.connection.fetch(
                f"SELECT DISTINCT master FROM {service}.data_keys WHERE wrapped IS NOT NULL"  # noqa: S608
            )
            key_wrapper |= {row["master"] for row in rows}
        return key_wrapper

    # Data keys ----------------------------------------------------------------------------------------------------

    async def rotate_data(self) -> None:
        """Add new data keys, encrypt all values again with them, then delete the old ones."""
        from shared.crypto import reencryption

        old: dict[Service, list[int]] = {}
        for service in SERVICES:
            old[service] = await self._new_data_keys(service)
        await self._jobs(reencryption.KIND, {service: {} for service in SERVICES})
        for service, key_ids in old.items():
            left = await self.values_by_key(service)
            unused = [key_id for key_id in key_ids if not left.get(key_id)]
            await self.connection.execute(DESTROY_DATA_KEYS.format(service=service), unused)
            for key_id in sorted(set(key_ids) - set(unused)):
                self.notify(f"{service}: {left[key_id]} values of key {key_id} cannot be decrypted. The key is kept.")
        self.notify("Everything is encrypted with new data keys.")

    async def _new_data_keys(self, service: Service, months: Sequence[int] | None = None) -> list[int]:
        """Add a data key for each month until now, or for these months. Returns the ids of the previous keys."""
        from shared.crypto import data_keys

        rows = await self.connection.fetch(SELECT_LIVE_KEYS.format(service=service))
        newest: dict[int, int] = {row["month"]: row["id"] for row in rows}
        this_month = month_of(clock_now())
        for month, key_id in newest.items():
            if month <= this_month if months is None else month in months:
                following = await self._unused_id(service, key_id)
                wrapped = await data_keys.wrapped_new(self.key_wrapper, service, following)
                statement = INSERT_DATA_KEY.format(service=service)
                spread = SPREAD_SECONDS * self.settings.key_waits
                await self.connection.execute(statement, following, month, *wrapped, spread)
        return [row["id"] for row in rows if months is not None or row["month"] <= this_month]

    async def _unused_id(self, service: Service, key_id: int) -> int:
        last: int | None = await self.connection.fetchval(
            f"SELECT max(id) FROM {service}.data_keys WHERE id BETWEEN $1 AND $1 + 998",  # noqa: S608
            key_after(key_id),
        )
        return key_after(key_id) if last is None else last + 1

    async def values_by_key(self, service: Service) -> dict[int, int]:
        """Count the values that each data key of a service encrypts."""
        from shared.crypto import reencryption

        found: dict[int, int] = {}
        for place in reencryption.encrypted_columns_of(service):
            for column, _ in place.columns:
                rows = await self.connection.fetch(
                    f"""
                    SELECT ('x' || encode(substring({column} FROM 2 FOR 4), 'hex'))::bit(32)::int AS key, count(*)
                    FROM {service}.{place.table} WHERE length({column}) >= 5 GROUP BY 1
                    """  # noqa: S608
                )
                for row in rows:
                    found[row["key"]] = found.get(row["key"], 0) + row["count"]
        return found

    async def revoke_data(self, key_id: str) -> None:
        """Destroy a data key in every service. Raises Trouble if it still encrypts values."""
        number = int(key_id) if key_id.isdigit() else 0
        for service in SERVICES:
            if count := (await self.values_by_key(service)).get(number):
                raise Trouble(f"Key {key_id} still encrypts {count} values of {service}. Rotate the data keys first.")
            newest = await self._newest(service)
            if number in newest.values():
                raise Trouble(f"{key_id} is the newest key of its month. Rotate the data keys first.")
        for service in SERVICES:
            await self.connection.execute(DESTROY_DATA_KEYS.format(service=service), [number])

    async def _newest(self, service: Service) -> dict[int, int]:
        rows = await self.connection.fetch(SELECT_LIVE_KEYS.format(service=service))
        return {row["month"]: row["id"] for row in rows}

    # The index key ------------------------------------------------------------------------------------------------

    async def rotate_index(self) -> None:
        """Add a new index key for the other column, use both while that is filled, then only the new one.

        If it is interrupted, the next call continues.
        """
        found = key_versions.versions(self.keys, "index")
        if len(found) == 1 and await self._both_columns():
            self.notify("An interrupted rotation is finished now. Run the command again to rotate once more.")
        else:
            if len(found) == 1:
                slot = 1 - int(found[0].jwk.get("slot", 0))
                found = key_versions.add_symmetric(self.keys, "index", slot=slot)
            await self._jobs(REINDEX, {"registry": {"phase": "fill"}})
            key_versions.put(self.keys, "index", found[:1])
        await self._jobs(REINDEX, {"registry": {"phase": "empty"}})
        self.notify(f"All residents are found with index key {found[0].id} only.")

    async def _both_columns(self) -> bool:
        return bool(
            await self.connection.fetchval(
                "SELECT EXISTS (SELECT FROM registry.residents WHERE document_index IS NOT NULL "
                "AND document_index_b IS NOT NULL)"
            )
        )

    # The end of data ----------------------------------------------------------------------------------------------

    async def destroy(self, months: Sequence[int] | None) -> None:
        """Destroy the data keys of some months or of all, and the master key that could unwrap old copies of them.

        New keys encrypt new values. No older backup can be decrypted any more, also for other months.
        """
        from shared.crypto import data_keys

        doomed: dict[Service, list[int]] = {}
        for service in SERVICES:
            rows = await self.connection.fetch(SELECT_LIVE_KEYS.format(service=service))
            doomed[service] = [row["id"] for row in rows if months is None or row["month"] in months]
            needed = set(data_keys.months_needed(month_of(clock_now())))
            await self._new_data_keys(service, sorted(needed if months is None else needed & set(months)))
        if months is None:
            slot = 1 - int(key_versions.versions(self.keys, "index")[0].jwk.get("slot", 0))
            key_versions.put(self.keys, "index", key_versions.add_symmetric(self.keys, "index", slot=slot)[:1])
        await self.wait(SPREAD_SECONDS + FOLLOWED_SECONDS)
        for service, key_ids in doomed.items():
            await self.connection.execute(DESTROY_DATA_KEYS.format(service=service), key_ids)
        await self.rotate_master_key()
        await self.forget_master_keys()
        for service in SERVICES:
            await self.connection.execute(f"VACUUM FULL {service}.data_keys")
        await self.wait(FOLLOWED_SECONDS)
        self.notify(f"{sum(map(len, doomed.values()))} data keys and the data that they encrypted are destroyed.")

    async def forget_master_keys(self) -> None:
        newest = await self.key_wrapper.newest()
        if isinstance(self.key_wrapper, VaultTransitKeyWrapper):
            await self.key_wrapper.forget_before(newest)
        elif self.settings.master_keys == "file":
            key_versions.put(self.keys, "master", key_versions.versions(self.keys, "master")[:1])
        else:
            self.notify("Remove the old master key from FANGXIAN_MASTER_KEY, and destroy every copy of it.")

    # Jobs ---------------------------------------------------------------------------------------------------------

    async def _jobs(self, kind: str, inputs: dict[Service, dict[str, Any]]) -> None:
        """Start a job in each service, and wait until the workers have done all of them."""
        ids = {}
        for service, values in inputs.items():
            ids[service] = new_id()
            statement = INSERT_JOB.format(service=service)
            actor = behalf_of(system(service))
            await self.connection.execute(statement, ids[service], kind, actor, json.dumps(values))
        for service, job_id in ids.items():
            await self._follow(service, kind, job_id)

    async def _follow(self, service: Service, kind: str, job_id: UUID) -> None:
        printed = -1
        while True:
            row = await self.connection.fetchrow(SELECT_JOB.format(service=service), job_id)
            if row["done"] != printed:
                printed = row["done"]
                self.notify(f"{service}: {kind}: {printed} rows")
            if row["state"] == "succeeded":
                return
            if row["state"] in ("failed", "cancelled"):
                raise Trouble(f"The job {kind} of {service} was {row['state']}: {row['error'] or 'manually'}.")
            await asyncio.sleep(LOOK_SECONDS)


async def with_rotation(installation: Installation, notify: Notify, act: Callable[[Rotation], Any]) -> Any:
    """Run `act` with the keys of a running installation."""
    settings = installation.settings("registry")
    owners = settings.model_copy(update={"keys": installation.directory.keys / "owner"})
    connection = await asyncpg.connect(as_role(installation.owner_url))
    try:
        # Only one at a time, because two concurrent rotations would destroy each other's new keys.
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('fangxian keys'))"):
            raise Trouble("Another command changes the keys now. Wait until it has ended.")
        return await act(Rotation(installation, connection, key_wrapper_of(owners), notify))
    except MasterKeyError as error:
        raise Trouble(f"The master key: {error}.") from None
    finally:
        await connection.close()
