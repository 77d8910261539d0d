"""The destruction itself. Each step can be interrupted and repeated; removed rows are counted once."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from deploy import feed, key_versions
from deploy.rotation import DESTROY_DATA_KEYS, FOLLOWED_SECONDS, SELECT_LIVE_KEYS, Rotation
from deploy.sunset.scope import GOES, STAYS
from deploy.trouble import Trouble
from shared.core.settings import SERVICES, Service

BLOCKS = 500
"""Pages of a table for one transaction: about ten thousand rows."""
PATIENCE_SECONDS = 120
MOST_PASSES = 3
"""Passes over all tables: the next pass finds rows that were written during the previous one."""

SELECT_DECLARATION = "SELECT declared_on, decree, proposal_id, approved_at, progress FROM gateway.sunset"
COPY_DECLARATION = """
    INSERT INTO {s}.sunset (declared_on, decree, proposal_id, approved_at)
    SELECT declared_on, decree, proposal_id, approved_at FROM gateway.sunset ON CONFLICT DO NOTHING
"""
CANCEL_OPEN_JOBS = """
    UPDATE {s}.jobs SET state = 'cancelled', finished_at = now(), version = version + 1
    WHERE state IN ('queued', 'running') AND kind NOT IN ('reseal', 'reindex')
"""
SELECT_HOLDS = """
    SELECT id, resident_id, ordered_by, until FROM registry.holds
    WHERE released_at IS NULL AND until > now() ORDER BY until, id
"""
SELECT_LEAF_TABLES = """
    SELECT relid::regclass::text AS name, pg_relation_size(relid) / current_setting('block_size')::int AS blocks
    FROM pg_partition_tree($1::regclass) WHERE isleaf
"""
DELETE_UNHELD_ROWS = "DELETE FROM {table} AS one WHERE {within} AND ({stays}) IS NOT TRUE"
COUNT_DELETED_ROWS = """
    INSERT INTO {s}.purges AS counted (kind, day, rows)
    VALUES ($1, (now() AT TIME ZONE 'Asia/Shanghai')::date, $2)
    ON CONFLICT (kind, day) DO UPDATE SET rows = counted.rows + excluded.rows
"""
# A reader that has not read up to here must rebuild, and then sees only the remaining data.
RAISE_FLOOR = """
    INSERT INTO {s}.feed_floor AS floor (epoch, xid, seq)
    SELECT epoch, xid, seq FROM {s}.feed ORDER BY epoch DESC, xid DESC, seq DESC LIMIT 1
    ON CONFLICT ("only") DO UPDATE SET epoch = excluded.epoch, xid = excluded.xid, seq = excluded.seq
        WHERE (floor.epoch, floor.xid, floor.seq) < (excluded.epoch, excluded.xid, excluded.seq)
"""
ADD_PROGRESS = "UPDATE gateway.sunset SET progress = progress || $1::jsonb"
SELECT_DELETED_ROWS = """
    SELECT substring(kind FROM 8) AS name, sum(rows)::bigint AS rows FROM {s}.purges WHERE kind LIKE 'sunset:%'
    GROUP BY 1 ORDER BY 1
"""
SELECT_DESTROYED_KEYS = "SELECT id FROM {s}.data_keys WHERE wrapped IS NULL ORDER BY id"


@dataclass
class Destruction:
    """One sunset, on a running installation."""

    rotation: Rotation

    @property
    def connection(self) -> asyncpg.Connection:
        """The database, as its owner."""
        return self.rotation.connection

    async def declared(self) -> Any:
        """Return the declaration of two people. Raises Trouble if they have not declared the end."""
        row = await self.connection.fetchrow(SELECT_DECLARATION)
        if row is None:
            raise Trouble("The emergency is not over. Two people must declare that with POST /gateway/v1/sunset.")
        return row

    async def stop_collecting(self) -> None:
        """Tell every service, cancel queued jobs, and wait until all earlier feed entries have arrived everywhere."""
        for service in SERVICES:
            await self.connection.execute(COPY_DECLARATION.format(s=service))
            await self.connection.execute(CANCEL_OPEN_JOBS.format(s=service))
        await self.rotation.wait(FOLLOWED_SECONDS)
        for _ in range(PATIENCE_SECONDS):
            if not sum(lag.entries for lag in await feed.lag_of(self.connection)):
                return
            await asyncio.sleep(1)
        raise Trouble("A service has not read all feeds yet. See `fangxian feed lag`, then run this command again.")

    async def holds(self) -> list[Any]:
        """Return the legal holds of courts and inquiries."""
        found: list[Any] = await self.connection.fetch(SELECT_HOLDS)
        return found

    # The data -----------------------------------------------------------------------------------------------------

    async def purge(self) -> None:
        """Delete the data of everybody without a legal hold, regardless of its period."""
        held = [row["resident_id"] for row in await self.holds()]
        for _ in range(MOST_PASSES):
            if not sum([await self._purge_service(service, held) for service in SERVICES]):
                break
        for service, tables in GOES.items():
            for table in tables:
                await self.connection.execute(f"VACUUM (FULL) {service}.{table}")
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            await self.connection.execute("CHECKPOINT")

    async def _purge_service(self, service: Service, held: list[UUID]) -> int:
        before = sum((await self.removed(service)).values())
        for table, stays in GOES[service].items():
            await self._purge(service, table, stays.format(s=service), held)
        after = sum((await self.removed(service)).values())
        self.rotation.notify(f"{service}: {after} rows are removed.")
        return after - before

    async def _purge(self, service: Service, table: str, stays: str, held: list[UUID]) -> None:
        if table == "feed":
            await self.connection.execute(RAISE_FLOOR.format(s=service))
        for leaf in await self.connection.fetch(SELECT_LEAF_TABLES, f"{service}.{table}"):
            for block in range(0, leaf["blocks"], BLOCKS):
                within = f"one.ctid >= '({block},0)'::tid AND one.ctid < '({block + BLOCKS},0)'::tid"
                await self._remove(service, table, leaf["name"], within, stays, held)
        # Rows that were added during the passes.
        await self._remove(service, table, f"{service}.{table}", "true", stays, held)

    async def _remove(
        self, service: Service, table: str, place: str, within: str, stays: str, held: list[UUID]
    ) -> None:
        statement = DELETE_UNHELD_ROWS.format(table=place, within=within, stays=stays)
        async with self.connection.transaction():
            tag = await self.connection.execute(statement, *([held] if "$1" in stays else []))
            count = int(tag.rsplit(" ", 1)[1])
            if count:
                await self.connection.execute(COUNT_DELETED_ROWS.format(s=service), f"sunset:{table}", count)

    async def removed(self, service: Service) -> dict[str, int]:
        """Count the removed rows of each table, of all runs so far."""
        return {row["name"]: row["rows"] for row in await self.connection.fetch(SELECT_DELETED_ROWS.format(s=service))}

    async def remaining(self, service: Service) -> dict[str, int]:
        """Count the rows of each table."""
        tables = [*GOES[service], *STAYS[service]]
        return {table: await self.connection.fetchval(f"SELECT count(*) FROM {service}.{table}") for table in tables}  # noqa: S608

    # The keys -----------------------------------------------------------------------------------------------------

    async def destroy_keys(self) -> None:
        """Encrypt the remaining data again and destroy all old keys, so that no backup or log can be decrypted."""
        await self._doom()
        old = {service: await self._live(service) for service in SERVICES}
        await self.rotation.rotate_data()
        for service, key_ids in old.items():
            # A remaining key encrypted values that cannot be decrypted. It is destroyed too.
            await self.connection.execute(DESTROY_DATA_KEYS.format(service=service), key_ids)
        await self.rotation.rotate_index()
        await self.rotation.rotate_master_key()
        await self.rotation.forget_master_keys()
        for service in SERVICES:
            await self.connection.execute(f"VACUUM (FULL) {service}.data_keys")

    async def _doom(self) -> None:
        """Note which keys will be destroyed, also those of an interrupted run."""
        before = (await self.progress()).get("keys", {"index": [], "master": []})
        index = [one.id for one in key_versions.versions(self.rotation.keys, "index")]
        master = await self.rotation.master_keys_in_use() - {""}
        found = {"index": sorted({*before["index"], *index}), "master": sorted({*before["master"], *master})}
        await self.note(keys=found)

    async def _live(self, service: Service) -> list[int]:
        """Return the keys that may have encrypted something. Keys of future months have not."""
        return [row["id"] for row in await self.connection.fetch(SELECT_LIVE_KEYS.format(service=service))]

    async def destroyed(self) -> dict[str, Any]:
        """Return the ids of the destroyed keys."""
        data = {
            service: [str(row["id"]) for row in await self.connection.fetch(SELECT_DESTROYED_KEYS.format(s=service))]
            for service in SERVICES
        }
        return {"data": data, **(await self.progress())["keys"]}

    # What was done ------------------------------------------------------------------------------------------------

    async def progress(self) -> dict[str, Any]:
        """Return the notes of this run and of earlier ones."""
        found: dict[str, Any] = json.loads((await self.declared())["progress"])
        return found

    async def note(self, **values: Any) -> None:
        """Store a note for a later run."""
        await self.connection.execute(ADD_PROGRESS, json.dumps(values))
