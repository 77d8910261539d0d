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

PURGE = """
CREATE FUNCTION {s}.purge(asked text, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {s}, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz;
    removed bigint;
BEGIN
    SELECT now() - make_interval(days => days) INTO STRICT before FROM retention_periods WHERE kind = asked;
    CASE asked
{cases}
    END CASE;
    GET DIAGNOSTICS removed = ROW_COUNT;
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


def create_retention(service: Service, kinds: Mapping[str, Kept]) -> None:
    """Make what a service keeps its data by. Nothing at run time removes but `purge`, and that nothing too young."""
    kept = {**kinds, "jobs": JOBS}
    run_script(TABLES.format(s=service))
    cases = "\n".join(f"        WHEN '{kind}' THEN {one.removal.strip()};" for kind, one in sorted(kept.items()))
    run_script(PURGE.format(s=service, cases=cases))
    periods = sa.table("retention_periods", *map(sa.column, ("kind", "days", "source")), schema=service)
    op.bulk_insert(periods, [{"kind": kind, "days": one.days, "source": one.source} for kind, one in kept.items()])
    allow(service, "retention_periods", "SELECT")
    allow(service, "retention_periods", "UPDATE (days, source, proposal_id)", "staff")
    allow(service, "purges", "SELECT")
    protect(service, "legal_holds", staff="INSERT, DELETE, SELECT" if service == "registry" else "")


def drop_retention(service: Service) -> None:
    """Take it away."""
    op.execute(f"DROP FUNCTION {service}.purge")
    op.execute(f"DROP FUNCTION {service}.is_held")
    for table in ("purges", "legal_holds", "retention_periods"):
        op.execute(f"DROP TABLE {service}.{table}")
