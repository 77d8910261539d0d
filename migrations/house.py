"""The tables every service's schema begins with, as its first migration makes them."""

from alembic import op

from migrations.roles import allow, open_schema, protect
from shared.db import group_of
from shared.settings import Service

TABLES = """
CREATE TABLE {s}.feed (
    at timestamptz NOT NULL DEFAULT now(),
    epoch integer NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    type text NOT NULL,
    subject uuid NOT NULL,
    version bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    change text NOT NULL,
    urgent boolean NOT NULL,
    data json NOT NULL,
    PRIMARY KEY (epoch, xid, seq, at)
) PARTITION BY RANGE (at);
CREATE INDEX feed_urgent_idx ON {s}.feed (epoch, xid, seq) WHERE urgent;
COMMENT ON TABLE {s}.feed IS 'The owner''s log, by day. Entries are read in the order (epoch, xid, seq).';

CREATE TABLE {s}.feed_epochs (
    epoch integer PRIMARY KEY,
    system_identifier bigint NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {s}.feed_epochs
    IS 'One row for each cluster this schema has lived in: a restored one begins a new epoch.';

CREATE TABLE {s}.feed_floor (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE {s}.feed_floor IS 'The last entry that retention dropped. Who has read less must rebuild.';

CREATE TABLE {s}.feed_cursors (
    owner text NOT NULL,
    lane text NOT NULL,
    cursor text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, lane)
);
COMMENT ON TABLE {s}.feed_cursors IS 'How far this service has read another''s log.';

CREATE TABLE {s}.feed_held (
    type text NOT NULL,
    subject uuid NOT NULL,
    version bigint NOT NULL,
    held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (type, subject)
);
COMMENT ON TABLE {s}.feed_held IS 'The version held of every subject: only a newer one is applied.';

CREATE TABLE {s}.feed_parked (
    type text NOT NULL,
    subject uuid NOT NULL,
    version bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    data json NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (type, subject)
);
COMMENT ON TABLE {s}.feed_parked IS 'Entries that could not be handled. Operators see and retry them.';

CREATE TABLE {s}.data_keys (
    id integer PRIMARY KEY,
    month integer NOT NULL,
    master text NOT NULL DEFAULT '',
    wrapped bytea,
    made_at timestamptz NOT NULL DEFAULT now(),
    seals_from timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CONSTRAINT data_key_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
COMMENT ON TABLE {s}.data_keys IS 'The keys that seal personal data of a month, wrapped by the master key.';
COMMENT ON COLUMN {s}.data_keys.master IS 'What wraps it.';
COMMENT ON COLUMN {s}.data_keys.wrapped IS 'Null once it is destroyed, and with it what it sealed.';

CREATE TABLE {s}.idempotency (
    id uuid PRIMARY KEY,
    fingerprint bytea NOT NULL,
    answer bytea,
    at timestamptz NOT NULL
);
CREATE INDEX idempotency_at_idx ON {s}.idempotency (at);
COMMENT ON COLUMN {s}.idempotency.id IS 'Made from actor, operation and key.';
COMMENT ON COLUMN {s}.idempotency.answer IS 'Sealed; null while the first request runs.';

CREATE TABLE {s}.jobs (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    actor jsonb NOT NULL,
    input jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued',
    total integer,
    done integer NOT NULL DEFAULT 0,
    result jsonb NOT NULL DEFAULT '{{}}',
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT job_state CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT job_finished CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
);
CREATE INDEX jobs_region_idx ON {s}.jobs (region);
CREATE INDEX jobs_open_idx ON {s}.jobs (seq) WHERE state IN ('queued', 'running');
COMMENT ON COLUMN {s}.jobs.actor IS 'On whose behalf, and within which scope, it runs.';
COMMENT ON COLUMN {s}.jobs.total IS 'Items to do, once known.';

-- In transactions of its own: a large file takes longer than one may.
CREATE TABLE {s}.uploads (
    job_id uuid NOT NULL,
    part integer NOT NULL,
    sealed bytea NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, part)
);
COMMENT ON TABLE {s}.uploads IS 'The file of a job, sealed in parts, until the job has ended.';
COMMENT ON COLUMN {s}.uploads.job_id IS 'The job''s id, which is added after its file.';
"""

PROPOSALS = """
CREATE TABLE {s}.proposals (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    content jsonb NOT NULL,
    content_hash text NOT NULL,
    reason_sealed bytea NOT NULL,
    state text NOT NULL DEFAULT 'proposed',
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    decided_by text,
    decided_at timestamptz,
    decision_sealed bytea,
    CONSTRAINT proposals_id_state_key UNIQUE (id, state),
    CONSTRAINT proposal_state CHECK (state IN ('proposed', 'approved', 'refused', 'withdrawn', 'expired')),
    CONSTRAINT proposal_same_person CHECK (state NOT IN ('approved', 'refused') OR decided_by <> proposed_by),
    CONSTRAINT proposal_decision CHECK (
        (state IN ('approved', 'refused', 'withdrawn')) = (decided_by IS NOT NULL AND decided_at IS NOT NULL)
    )
);
CREATE INDEX proposals_region_idx ON {s}.proposals (region);
CREATE INDEX proposals_open_idx ON {s}.proposals (expires_at) WHERE state = 'proposed';
COMMENT ON TABLE {s}.proposals
    IS 'What one person proposed and another decides. An effect refers to (id, ''approved'').';
COMMENT ON COLUMN {s}.proposals.content IS 'What exactly is decided. Never changed.';
"""

# Days are Shanghai's. What is older than the oldest partition, or newer than the newest, goes to the default one.
# The audit's are months (audit.py).
KEEP_PARTITIONS = """
CREATE FUNCTION {s}.keep_partitions(retention_days integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'Asia/Shanghai' AS $$
DECLARE
    parent text;
    day date;
    child text;
    place record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{s}.keep_partitions'));
    FOR parent IN
        SELECT relname FROM pg_class
        WHERE relkind = 'p' AND relnamespace = '{s}'::regnamespace AND relname NOT IN ('audit', 'audit_seals')
        ORDER BY relname
    LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS {s}.%I PARTITION OF {s}.%I DEFAULT', parent || '_default', parent);
        FOR day IN SELECT generate_series(current_date - 2, current_date + 14, '1 day')::date LOOP
            child := parent || to_char(day, '_YYYYMMDD');
            IF to_regclass(format('{s}.%I', child)) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE {s}.%I PARTITION OF {s}.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent, day::timestamptz, (day + 1)::timestamptz
                );
            END IF;
        END LOOP;
    END LOOP;
    FOR child IN
        SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
        WHERE inhparent = '{s}.feed'::regclass AND relname ~ '_[0-9]{{8}}$'
          AND to_date(right(relname, 8), 'YYYYMMDD') < current_date - retention_days
        ORDER BY relname
    LOOP
        EXECUTE format('SELECT epoch, xid, seq FROM {s}.%I ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1', child) INTO place;
        IF place.seq IS NOT NULL THEN
            INSERT INTO {s}.feed_floor AS floor (epoch, xid, seq) VALUES (place.epoch, place.xid, place.seq)
            ON CONFLICT ("only") DO UPDATE SET epoch = excluded.epoch, xid = excluded.xid, seq = excluded.seq
                WHERE (floor.epoch, floor.xid, floor.seq) < (excluded.epoch, excluded.xid, excluded.seq);
        END IF;
        EXECUTE format('DROP TABLE {s}.%I', child);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION {s}.keep_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {s}.keep_partitions TO fangxian_{s}_system;
"""

ALL_TABLES = (
    "uploads",
    "jobs",
    "idempotency",
    "data_keys",
    "feed_parked",
    "feed_held",
    "feed_cursors",
    "feed_floor",
    "feed_epochs",
    "feed",
)


def create_house(service: Service) -> None:
    """Make the common tables of a schema, and say who may do what with them."""
    open_schema(service)
    run_script(TABLES.format(s=service))
    run_script(KEEP_PARTITIONS.format(s=service))
    allow(service, "feed", "INSERT")
    allow(service, "feed", "SELECT", "system")
    allow(service, "feed_epochs", "SELECT")
    allow(service, "feed_floor", "SELECT", "system")
    for table in ("feed_cursors", "feed_held", "feed_parked"):
        allow(service, table, "SELECT, INSERT, UPDATE, DELETE", "system")
    allow(service, "data_keys", "SELECT")
    allow(service, "data_keys", "INSERT", "system")
    allow(service, "idempotency", "SELECT, INSERT, UPDATE")
    allow(service, "idempotency", "DELETE", "system")
    protect(service, "jobs", staff="SELECT, INSERT, UPDATE")
    allow(service, "uploads", "SELECT, INSERT, UPDATE, DELETE", "system")


def drop_house(service: Service) -> None:
    """Take the common tables of a schema away."""
    op.execute(f"DROP FUNCTION {service}.keep_partitions")
    for table in ALL_TABLES:
        op.execute(f"DROP TABLE {service}.{table}")


def create_proposals(service: Service) -> None:
    """Make the table of what two people decide: of an entry only the decision can change, and none can be removed."""
    run_script(PROPOSALS.format(s=service))
    decision = "SELECT, UPDATE (state, decided_by, decided_at, decision_sealed, version)"
    protect(service, "proposals", staff=f"INSERT, {decision}", system=decision)
    allow(service, "proposals", "UPDATE (reason_sealed)", "system")


PUBLISHING = """
ALTER TABLE {s}.{table}
    ADD COLUMN proposal_id uuid CONSTRAINT {table}_proposal_id_key UNIQUE,
    ADD COLUMN approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    ADD CONSTRAINT {one}_proposed CHECK ({number} = 1 OR proposal_id IS NOT NULL),
    ADD CONSTRAINT {table}_proposal_fkey FOREIGN KEY (proposal_id, approved) REFERENCES {s}.proposals (id, state);
GRANT INSERT ON {s}.{table} TO fangxian_{s}_staff;
"""


def publish_by_proposals(service: Service, table: str, *, one: str, number: str) -> None:
    """Let staff add to what is published, each after the first on an approved proposal."""
    run_script(PUBLISHING.format(s=service, table=table, one=one, number=number))


def publish_without_proposals(service: Service, table: str) -> None:
    """Take that back."""
    op.execute(f"REVOKE INSERT ON {service}.{table} FROM {group_of(service, 'staff')}")
    op.execute(f"ALTER TABLE {service}.{table} DROP COLUMN proposal_id, DROP COLUMN approved")


def run_script(script: str) -> None:
    """Run statements separated by semicolons at line ends; a function's body is one."""
    statement: list[str] = []
    in_body = False
    for line in script.splitlines():
        statement.append(line)
        in_body ^= line.count("$$") % 2 == 1
        if line.rstrip().endswith(";") and not in_body:
            op.execute("\n".join(statement))
            statement = []
