"""The audit of a schema: entries that can only be added, and the chain over them that only the sealer can add to.

Whoever works for people may add entries, but not read them: residents read what was done with their own data (never
by whom), the auditor's role reads what was done in the name of its region or in none, and the sealer reads all.
"""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow
from shared.db import AUDIT_ROLES, group_of
from shared.settings import Service

# The time, transaction and number of an entry are the database's: they are in no list of columns to be inserted.
WRITTEN = "epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects"
TOLD = "at, seq, kind, operation, role, party, scope, purpose, subjects, told"
PLACED = "at, epoch, xid, seq"

TABLES = """
CREATE TABLE {s}.audit (
    at timestamptz NOT NULL DEFAULT now(),
    epoch integer NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    operation text NOT NULL,
    target text NOT NULL,
    actor text NOT NULL,
    role text NOT NULL,
    party text NOT NULL,
    scope text COLLATE "C" NOT NULL,
    purpose text NOT NULL,
    reason text NOT NULL,
    request_id text NOT NULL,
    subjects uuid[] NOT NULL,
    told text NOT NULL GENERATED ALWAYS AS (CASE WHEN kind = 'reveal' THEN reason ELSE '' END) STORED,
    PRIMARY KEY (at, seq)
) PARTITION BY RANGE (at);
CREATE INDEX audit_order_idx ON {s}.audit (epoch, xid, seq);
CREATE INDEX audit_subjects_idx ON {s}.audit USING gin (subjects);
COMMENT ON TABLE {s}.audit IS 'Who did what, to whose data: one entry an act, by month, append-only.';
COMMENT ON COLUMN {s}.audit.target IS 'The path asked for, or of what came to be.';
COMMENT ON COLUMN {s}.audit.scope IS 'The region acted in the name of; ~ for none.';
COMMENT ON COLUMN {s}.audit.subjects IS 'Whose data it was about.';
COMMENT ON COLUMN {s}.audit.told IS 'The reason as far as the people it was about may read it.';

CREATE TABLE {s}.audit_seals (
    day date NOT NULL,
    position bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (day, position),
    UNIQUE (day, seq)
) PARTITION BY RANGE (day);
COMMENT ON TABLE {s}.audit_seals
    IS 'The chain over the entries of each day; written by the sealer alone, append-only.';
COMMENT ON COLUMN {s}.audit_seals.day IS 'In Asia/Shanghai.';

CREATE TABLE {s}.audit_sealed (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL
);
COMMENT ON TABLE {s}.audit_sealed IS 'How far the sealer has come: every entry up to there is in a chain.';

SELECT {s}.keep_audit_partitions();
"""

# Under a policy only leakproof operators reach an index, and those of arrays are not: the places of a person's entries
# are found past it, and the entries at them are read under it.
ABOUT = """
CREATE FUNCTION {s}.audit_about(subject uuid, since timestamptz, before timestamptz)
RETURNS TABLE (at timestamptz, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT audit.at, audit.seq FROM {s}.audit
    WHERE audit.subjects @> ARRAY[subject] AND audit.at >= since AND audit.at < before
$$;
REVOKE ALL ON FUNCTION {s}.audit_about FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {s}.audit_about TO fangxian_{s}_auditor;
"""

POLICIES = """
ALTER TABLE {s}.audit ENABLE ROW LEVEL SECURITY;
CREATE POLICY writes ON {s}.audit FOR INSERT WITH CHECK (true);
CREATE POLICY told ON {s}.audit FOR SELECT TO fangxian_{s}_resident
    USING (subjects && (SELECT current_setting('scope.residents'))::uuid[]);
CREATE POLICY audited ON {s}.audit FOR SELECT TO fangxian_{s}_auditor USING (
    scope = '~' AND (SELECT current_setting('scope.low')) = ''
    OR scope >= (SELECT current_setting('scope.low')) AND scope < (SELECT current_setting('scope.high'))
);
CREATE POLICY sealed ON {s}.audit FOR SELECT TO fangxian_{s}_sealer, fangxian_{s}_system USING (true);
"""

# Kept for years, and read over all of them: hundreds of partitions would cost more than they save.
KEEP_MONTHS = """
CREATE FUNCTION {s}.keep_audit_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'Asia/Shanghai' AS $$
DECLARE
    parent text;
    month date;
    child text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{s}.keep_partitions'));
    FOREACH parent IN ARRAY ARRAY['audit', 'audit_seals'] LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS {s}.%I PARTITION OF {s}.%I DEFAULT', parent || '_default', parent);
        FOR month IN
            SELECT generate_series(date_trunc('month', current_date - 2), current_date + 31, '1 month')::date
        LOOP
            child := parent || to_char(month, '_YYYYMMDD');
            IF to_regclass(format('{s}.%I', child)) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE {s}.%I PARTITION OF {s}.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent, month::timestamptz, (month + interval '1 month')::timestamptz
                );
            END IF;
        END LOOP;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION {s}.keep_audit_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {s}.keep_audit_partitions TO fangxian_{s}_system;
"""


def create_audit(service: Service) -> None:
    """Make the audit of a schema, beside its house: the epochs of its entries are the feed's."""
    run_script(KEEP_MONTHS.format(s=service))
    run_script(TABLES.format(s=service))
    for role in AUDIT_ROLES:
        op.execute(f"GRANT USAGE ON SCHEMA {service} TO {group_of(service, role)}")
    allow(service, "audit", f"INSERT ({WRITTEN})")
    run_script(POLICIES.format(s=service))
    run_script(ABOUT.format(s=service))
    allow(service, "audit", f"SELECT ({TOLD})", "resident")
    allow(service, "audit", f"SELECT ({PLACED})", "system")
    for table in ("audit_seals", "audit_sealed"):
        allow(service, table, "SELECT", "system")
    auditor, sealer = (group_of(service, role) for role in AUDIT_ROLES)
    op.execute(f"GRANT INSERT ({WRITTEN}) ON {service}.audit TO {auditor}")
    op.execute(f"GRANT SELECT ON {service}.audit, {service}.feed_epochs TO {auditor}, {sealer}")
    op.execute(f"GRANT SELECT, INSERT ON {service}.audit_seals TO {sealer}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {service}.audit_sealed TO {sealer}")


def drop_audit(service: Service) -> None:
    """Take it away."""
    for function in ("audit_about", "keep_audit_partitions"):
        op.execute(f"DROP FUNCTION {service}.{function}")
    for table in ("audit_sealed", "audit_seals", "audit"):
        op.execute(f"DROP TABLE {service}.{table}")
