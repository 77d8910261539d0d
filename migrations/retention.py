"""Retention in the database: the periods, what is held, and the one function that removes."""

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect
from shared.settings import Service


class Kept(NamedTuple):
    """One kind of data: days it is kept, on whose word, and the statement that removes a batch of it.

    The statement speaks of `before` (what is older goes), `most` (rows) and `is_held(resident_id)`.
    """

    days: int
    source: str
    removal: str


AUDIT = Kept(
    1095,
    "local decision: three years; Personal Information Protection Law, article 56, asks the same of records",
    "",
)
JOBS = Kept(
    90,
    "local decision: as long as somebody may ask what became of a file",
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_at < before ORDER BY seq LIMIT most)",
)

TABLES = """
CREATE TABLE {s}.retention_periods (
    kind text COLLATE "C" PRIMARY KEY,
    days integer NOT NULL CONSTRAINT retention_days CHECK (days BETWEEN 1 AND 3650),
    source text NOT NULL,
    proposal_id uuid,
    approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    CONSTRAINT retention_periods_proposal_fkey FOREIGN KEY (proposal_id, approved)
        REFERENCES {s}.proposals (id, state)
);
COMMENT ON TABLE {s}.retention_periods
    IS 'How long each kind of data is kept. A period other than the first rests on an approved proposal.';

CREATE TABLE {s}.legal_holds (
    subject uuid PRIMARY KEY,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX legal_holds_resident_id_idx ON {s}.legal_holds (resident_id);
COMMENT ON TABLE {s}.legal_holds IS 'Whose data must not be removed yet, by the registry''s holds.';

CREATE TABLE {s}.purges (
    kind text COLLATE "C" NOT NULL,
    day date NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (kind, day)
);
COMMENT ON TABLE {s}.purges IS 'How many rows of each kind were removed on each day.';

CREATE FUNCTION {s}.is_held(resident uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = {s}, pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM legal_holds WHERE resident_id = resident AND until > now())
$$;
"""

# An audit month goes with its seals, once nobody held is spoken of in it and all of it is chained: a chain with holes
# would prove nothing. How each of its days ended stays. What lies in the default partitions is older than any month.
DROP_AUDIT = """
CREATE TABLE {s}.audit_heads (
    day date PRIMARY KEY,
    size bigint NOT NULL,
    hash bytea NOT NULL
);
COMMENT ON TABLE {s}.audit_heads IS 'How the chains of the days ended whose entries are past their period and gone.';
GRANT SELECT ON {s}.audit_heads TO fangxian_{s}_system;

CREATE FUNCTION {s}.is_audit_kept(entries regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (
            SELECT FROM {s}.legal_holds AS hold JOIN %1$s AS entry ON entry.subjects @> ARRAY[hold.resident_id]
            WHERE hold.until > now()
        ) OR NOT EXISTS (SELECT FROM {s}.audit_sealed)
        OR EXISTS (SELECT FROM %1$s WHERE (epoch, xid, seq) > (SELECT epoch, xid, seq FROM {s}.audit_sealed))', entries
    ) INTO kept;
    RETURN kept;
END $$;
REVOKE ALL ON FUNCTION {s}.is_audit_kept FROM PUBLIC;

CREATE FUNCTION {s}.drop_audit(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'Asia/Shanghai' SET lock_timeout = '500ms' AS $$
DECLARE
    last date := date_trunc('month', before);
    month date;
    entries regclass;
    seals regclass;
    found bigint;
    removed bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{s}.keep_partitions'));
    FOR entries, seals, month IN
        SELECT one.oid, to_regclass('{s}.' || replace(one.relname, 'audit_', 'audit_seals_')),
            to_date(right(one.relname, 8), 'YYYYMMDD')
        FROM pg_class AS one JOIN pg_inherits ON inhrelid = one.oid
        WHERE inhparent = '{s}.audit'::regclass AND one.relname ~ '^audit_[0-9]{{8}}$'
          AND to_date(right(one.relname, 8), 'YYYYMMDD') < last
        ORDER BY 3
    LOOP
        CONTINUE WHEN {s}.is_audit_kept(entries);
        EXECUTE format('SELECT count(*) FROM %s', entries) INTO found;
        EXECUTE format(
            'INSERT INTO {s}.audit_heads
            SELECT DISTINCT ON (day) day, position, hash FROM %s ORDER BY day, position DESC', seals
        );
        EXECUTE format('DROP TABLE %s', entries);
        EXECUTE format('DROP TABLE %s', seals);
        removed := removed + found;
    END LOOP;
    IF EXISTS (SELECT FROM {s}.audit_default WHERE at < last) AND NOT {s}.is_audit_kept('{s}.audit_default') THEN
        INSERT INTO {s}.audit_heads
        SELECT DISTINCT ON (day) day, position, hash FROM {s}.audit_seals_default WHERE day < last
        ORDER BY day, position DESC;
        DELETE FROM {s}.audit_seals_default WHERE day < last;
        DELETE FROM {s}.audit_default WHERE at < last;
        GET DIAGNOSTICS found = ROW_COUNT;
        removed := removed + found;
    END IF;
    RETURN removed;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;
REVOKE ALL ON FUNCTION {s}.drop_audit FROM PUBLIC;
"""

PURGE = """
CREATE FUNCTION {s}.purge(asked text, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {s}, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz;
    removed bigint;
BEGIN
    SELECT now() - make_interval(days => days) INTO STRICT before FROM retention_periods WHERE kind = asked;
    IF asked = 'audit' THEN
        removed := drop_audit(before);
    ELSE
        EXECUTE format('SELECT %I($1, $2)', 'remove_' || asked) INTO removed USING before, most;
    END IF;
{after}
    IF removed > 0 THEN
        INSERT INTO purges AS counted (kind, day, rows)
        VALUES (asked, (now() AT TIME ZONE 'Asia/Shanghai')::date, removed)
        ON CONFLICT (kind, day) DO UPDATE SET rows = counted.rows + excluded.rows;
    END IF;
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION {s}.purge FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {s}.purge TO fangxian_{s}_system;
"""


# Only `purge` calls it, as the owner: nobody at run time may say what is too old.
REMOVE = """
CREATE FUNCTION {s}.remove_{kind}(before timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = {s}, pg_catalog, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    {removal};
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION {s}.remove_{kind} FROM PUBLIC;
"""


def create_retention(service: Service, kinds: Mapping[str, Kept], after: str = "") -> None:
    """Make what a service keeps its data by. Nothing at run time removes but `purge`, and that nothing too young.

    `after` is what `purge` does when it has `removed` rows of the kind `asked`.
    """
    run_script(TABLES.format(s=service))
    run_script(DROP_AUDIT.format(s=service))
    run_script(PURGE.format(s=service, after=after.strip("\n")))
    _insert_periods(service, {"audit": AUDIT})
    keep(service, {**kinds, "jobs": JOBS})
    allow(service, "retention_periods", "SELECT")
    allow(service, "retention_periods", "UPDATE (days, source, proposal_id)", "staff")
    allow(service, "purges", "SELECT")
    protect(service, "legal_holds", staff="INSERT, DELETE, SELECT" if service == "registry" else "")


def keep(service: Service, kinds: Mapping[str, Kept]) -> None:
    """Keep further kinds of data for a while: from the migration that makes their tables."""
    for kind, one in kinds.items():
        run_script(REMOVE.format(s=service, kind=kind, removal=one.removal.strip()))
    _insert_periods(service, kinds)


def keep_no_longer(service: Service, *kinds: str) -> None:
    """Take that back, before their tables are dropped."""
    for kind in kinds:
        op.execute(f"DROP FUNCTION {service}.remove_{kind}")
        op.execute(f"DELETE FROM {service}.retention_periods WHERE kind = '{kind}'")  # noqa: S608 (a migration's words)


def _insert_periods(service: Service, kinds: Mapping[str, Kept]) -> None:
    periods = sa.table("retention_periods", *map(sa.column, ("kind", "days", "source")), schema=service)
    op.bulk_insert(periods, [{"kind": kind, "days": one.days, "source": one.source} for kind, one in kinds.items()])


def drop_retention(service: Service, kinds: Mapping[str, Kept]) -> None:
    """Take it away."""
    keep_no_longer(service, *kinds, "jobs")
    for function in ("purge", "drop_audit", "is_audit_kept", "is_held"):
        op.execute(f"DROP FUNCTION {service}.{function}")
    for table in ("audit_heads", "purges", "legal_holds", "retention_periods"):
        op.execute(f"DROP TABLE {service}.{table}")
