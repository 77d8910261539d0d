-- What the schema of every service begins with. `{schema}` is the name of the service.
--
--   Roles, Feed, Encryption keys, Idempotency, Jobs, Audit, Partitions, Two-person rule, Retention,
--   End of the emergency
--
-- A grant says what a role may do with a table, and a policy says with which rows. A policy for all commands says both
-- which rows are seen (USING) and which may be written (WITH CHECK). Each transaction sets what policies compare with:
--
--   scope.low, scope.high   the range of region codes of its actor; a region code is the prefix of all codes below it
--   scope.residents         the residents that a resident acts for: themselves and their dependants
--   scope.party             the organisation a machine belongs to; the empty text belongs to nobody
--
-- A policy reads a setting in a subquery, because PostgreSQL then reads it once a statement and not once a row.


-- Roles ---------------------------------------------------------------------------------------------------------------
--
-- The roles themselves are made before any version runs (migrations/roles.py), because they belong to the cluster.

GRANT USAGE ON SCHEMA {schema} TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system, fangxian_{schema}_auditor, fangxian_{schema}_sealer;


-- Feed ----------------------------------------------------------------------------------------------------------------
--
-- The log that other services read, and how far this service has read theirs.

CREATE TABLE {schema}.feed (
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
CREATE INDEX feed_urgent_idx ON {schema}.feed (epoch, xid, seq) WHERE urgent;
COMMENT ON TABLE {schema}.feed IS 'The owner''s log, by day. Entries are read in the order (epoch, xid, seq).';
-- No policy: whoever changes a thing also writes its entry, and only the system reads entries.
GRANT INSERT ON {schema}.feed TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system;
GRANT SELECT ON {schema}.feed TO fangxian_{schema}_system;

CREATE TABLE {schema}.feed_epochs (
    epoch integer PRIMARY KEY,
    system_identifier bigint NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.feed_epochs
    IS 'One row for each cluster this schema has lived in: a restored one begins a new epoch.';
GRANT SELECT ON {schema}.feed_epochs TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system, fangxian_{schema}_auditor, fangxian_{schema}_sealer;

CREATE TABLE {schema}.feed_floor (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE {schema}.feed_floor IS 'The last entry that retention dropped. A reader behind it must rebuild.';
GRANT SELECT ON {schema}.feed_floor TO fangxian_{schema}_system;

CREATE TABLE {schema}.feed_cursors (
    owner text NOT NULL,
    lane text NOT NULL,
    cursor text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, lane)
);
COMMENT ON TABLE {schema}.feed_cursors IS 'How far this service has read another''s log.';
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.feed_cursors TO fangxian_{schema}_system;

CREATE TABLE {schema}.feed_held (
    type text NOT NULL,
    subject uuid NOT NULL,
    version bigint NOT NULL,
    held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (type, subject)
);
COMMENT ON TABLE {schema}.feed_held IS 'The version applied of every subject: only a newer one is applied.';
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.feed_held TO fangxian_{schema}_system;

CREATE TABLE {schema}.feed_parked (
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
COMMENT ON TABLE {schema}.feed_parked IS 'Entries that could not be handled. Operators see and retry them.';
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.feed_parked TO fangxian_{schema}_system;


-- Encryption keys -----------------------------------------------------------------------------------------------------

CREATE TABLE {schema}.data_keys (
    id integer PRIMARY KEY,
    month integer NOT NULL,
    master text NOT NULL DEFAULT '',
    wrapped bytea,
    made_at timestamptz NOT NULL DEFAULT now(),
    seals_from timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CONSTRAINT data_key_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
COMMENT ON TABLE {schema}.data_keys IS 'The keys that encrypt personal data of a month, wrapped by the master key.';
COMMENT ON COLUMN {schema}.data_keys.master IS 'The master key that wraps it.';
COMMENT ON COLUMN {schema}.data_keys.wrapped IS 'Null once it is destroyed, and with it what it encrypted.';
GRANT SELECT ON {schema}.data_keys TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system;
GRANT INSERT ON {schema}.data_keys TO fangxian_{schema}_system;


-- Idempotency ---------------------------------------------------------------------------------------------------------

CREATE TABLE {schema}.idempotency (
    id uuid PRIMARY KEY,
    fingerprint bytea NOT NULL,
    answer bytea,
    at timestamptz NOT NULL
);
CREATE INDEX idempotency_at_idx ON {schema}.idempotency (at);
COMMENT ON COLUMN {schema}.idempotency.id IS 'Made from actor, operation and key.';
COMMENT ON COLUMN {schema}.idempotency.answer IS 'Encrypted; null while the first request runs.';
GRANT SELECT, INSERT, UPDATE ON {schema}.idempotency TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system;
GRANT DELETE ON {schema}.idempotency TO fangxian_{schema}_system;


-- Jobs ----------------------------------------------------------------------------------------------------------------

CREATE TABLE {schema}.jobs (
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
    result jsonb NOT NULL DEFAULT '{}',
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT job_state CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT job_finished CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
);
CREATE INDEX jobs_region_idx ON {schema}.jobs (region);
CREATE INDEX jobs_open_idx ON {schema}.jobs (seq) WHERE state IN ('queued', 'running');
COMMENT ON COLUMN {schema}.jobs.actor IS 'On whose behalf, and within which scope, it runs.';
COMMENT ON COLUMN {schema}.jobs.total IS 'Items to do, once known.';
ALTER TABLE {schema}.jobs ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON {schema}.jobs TO fangxian_{schema}_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.jobs TO fangxian_{schema}_system;
CREATE POLICY region_in_scope ON {schema}.jobs TO fangxian_{schema}_staff, fangxian_{schema}_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

-- Parts are committed one by one, because a large file takes longer to arrive than a transaction may last.
CREATE TABLE {schema}.uploads (
    job_id uuid NOT NULL,
    part integer NOT NULL,
    sealed bytea NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, part)
);
COMMENT ON TABLE {schema}.uploads IS 'The file of a job, encrypted in parts, until the job has ended.';
COMMENT ON COLUMN {schema}.uploads.job_id IS 'The job''s id. The job is added after its file.';
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.uploads TO fangxian_{schema}_system;


-- Audit ---------------------------------------------------------------------------------------------------------------
--
-- Every role adds entries, and nobody changes or removes one. Residents read what was done with their own data, but
-- not by whom. The auditor reads what was done in the name of its region, or in the name of no region. The sealer reads
-- all and chains them.

CREATE TABLE {schema}.audit (
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
CREATE INDEX audit_order_idx ON {schema}.audit (epoch, xid, seq);
CREATE INDEX audit_subjects_idx ON {schema}.audit USING gin (subjects);
COMMENT ON TABLE {schema}.audit IS 'Who did what, to whose data: one entry an act, by month, append-only.';
COMMENT ON COLUMN {schema}.audit.target IS 'The path that was called, or of what was made.';
COMMENT ON COLUMN {schema}.audit.scope IS 'The region in whose name it was done; ~ for none.';
COMMENT ON COLUMN {schema}.audit.subjects IS 'Whose data it was about.';
COMMENT ON COLUMN {schema}.audit.told IS 'The reason, as far as the people it was about may read it.';
ALTER TABLE {schema}.audit ENABLE ROW LEVEL SECURITY;
-- The time, transaction and number of an entry are in no list of columns to insert, because the database sets them.
GRANT INSERT (epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects)
    ON {schema}.audit TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system, fangxian_{schema}_auditor;
GRANT SELECT (at, seq, kind, operation, role, party, scope, purpose, subjects, told)
    ON {schema}.audit TO fangxian_{schema}_resident;
GRANT SELECT (at, epoch, xid, seq) ON {schema}.audit TO fangxian_{schema}_system;
GRANT SELECT ON {schema}.audit TO fangxian_{schema}_auditor, fangxian_{schema}_sealer;
CREATE POLICY writes ON {schema}.audit FOR INSERT WITH CHECK (true);
CREATE POLICY told ON {schema}.audit FOR SELECT TO fangxian_{schema}_resident
    USING (subjects && (SELECT current_setting('scope.residents'))::uuid[]);
CREATE POLICY audited ON {schema}.audit FOR SELECT TO fangxian_{schema}_auditor USING (
    scope = '~' AND (SELECT current_setting('scope.low')) = ''
    OR scope >= (SELECT current_setting('scope.low')) AND scope < (SELECT current_setting('scope.high'))
);
CREATE POLICY sealed ON {schema}.audit FOR SELECT TO fangxian_{schema}_sealer, fangxian_{schema}_system USING (true);

CREATE TABLE {schema}.audit_seals (
    day date NOT NULL,
    position bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (day, position),
    UNIQUE (day, seq)
) PARTITION BY RANGE (day);
COMMENT ON TABLE {schema}.audit_seals
    IS 'The chain over the entries of each day, append-only. Only the sealer writes it.';
COMMENT ON COLUMN {schema}.audit_seals.day IS 'In Asia/Shanghai.';
GRANT SELECT ON {schema}.audit_seals TO fangxian_{schema}_system;
GRANT SELECT, INSERT ON {schema}.audit_seals TO fangxian_{schema}_sealer;

CREATE TABLE {schema}.audit_sealed (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL
);
COMMENT ON TABLE {schema}.audit_sealed IS 'How far the sealer has come: every entry up to there is in a chain.';
GRANT SELECT ON {schema}.audit_sealed TO fangxian_{schema}_system;
GRANT SELECT, INSERT, UPDATE ON {schema}.audit_sealed TO fangxian_{schema}_sealer;

CREATE TABLE {schema}.audit_heads (
    day date PRIMARY KEY,
    size bigint NOT NULL,
    hash bytea NOT NULL
);
COMMENT ON TABLE {schema}.audit_heads IS 'How the chain of each day ended whose entries retention has dropped.';
GRANT SELECT ON {schema}.audit_heads TO fangxian_{schema}_system;

-- The auditor finds a person's entries by this function, and then reads them under its policy. Under a policy an index
-- is used with leakproof operators only, and the operators of arrays are not leakproof.
CREATE FUNCTION {schema}.audit_about(subject uuid, since timestamptz, before timestamptz)
RETURNS TABLE (at timestamptz, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT audit.at, audit.seq FROM {schema}.audit
    WHERE audit.subjects @> ARRAY[subject] AND audit.at >= since AND audit.at < before
$$;
REVOKE ALL ON FUNCTION {schema}.audit_about FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.audit_about TO fangxian_{schema}_auditor;


-- Partitions ----------------------------------------------------------------------------------------------------------
--
-- Days and months are those of Shanghai. Rows older than the oldest partition, or newer than the newest, go to the
-- default partition. Only here, and where retention drops a partition, a statement is made from a name, because DDL
-- takes no parameters.

-- One partition a day of every partitioned table except the audit's. Drops days of the feed that are past their time.
CREATE FUNCTION {schema}.keep_partitions(retention_days integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'Asia/Shanghai' AS $$
DECLARE
    parent text;
    day date;
    child text;
    place record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{schema}.keep_partitions'));
    FOR parent IN
        SELECT relname FROM pg_class
        WHERE relkind = 'p' AND relnamespace = '{schema}'::regnamespace AND relname NOT IN ('audit', 'audit_seals')
        ORDER BY relname
    LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS {schema}.%I PARTITION OF {schema}.%I DEFAULT', parent || '_default', parent
        );
        FOR day IN SELECT generate_series(current_date - 2, current_date + 14, '1 day')::date LOOP
            child := parent || to_char(day, '_YYYYMMDD');
            IF to_regclass(format('{schema}.%I', child)) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE {schema}.%I PARTITION OF {schema}.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent, day::timestamptz, (day + 1)::timestamptz
                );
            END IF;
        END LOOP;
    END LOOP;
    FOR child IN
        SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
        WHERE inhparent = '{schema}.feed'::regclass AND relname ~ '_[0-9]{8}$'
          AND to_date(right(relname, 8), 'YYYYMMDD') < current_date - retention_days
        ORDER BY relname
    LOOP
        EXECUTE format('SELECT epoch, xid, seq FROM {schema}.%I ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1', child)
            INTO place;
        IF place.seq IS NOT NULL THEN
            INSERT INTO {schema}.feed_floor AS floor (epoch, xid, seq) VALUES (place.epoch, place.xid, place.seq)
            ON CONFLICT ("only") DO UPDATE SET epoch = excluded.epoch, xid = excluded.xid, seq = excluded.seq
                WHERE (floor.epoch, floor.xid, floor.seq) < (excluded.epoch, excluded.xid, excluded.seq);
        END IF;
        EXECUTE format('DROP TABLE {schema}.%I', child);
    END LOOP;
END $$;

-- The audit has a partition a month, because it is kept for years and read over all of them: hundreds of partitions
-- would cost more than they save.
CREATE FUNCTION {schema}.keep_audit_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'Asia/Shanghai' AS $$
DECLARE
    parent text;
    month date;
    child text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{schema}.keep_partitions'));
    FOREACH parent IN ARRAY ARRAY['audit', 'audit_seals'] LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS {schema}.%I PARTITION OF {schema}.%I DEFAULT', parent || '_default', parent
        );
        FOR month IN
            SELECT generate_series(date_trunc('month', current_date - 2), current_date + 31, '1 month')::date
        LOOP
            child := parent || to_char(month, '_YYYYMMDD');
            IF to_regclass(format('{schema}.%I', child)) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE {schema}.%I PARTITION OF {schema}.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent, month::timestamptz, (month + interval '1 month')::timestamptz
                );
            END IF;
        END LOOP;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION {schema}.keep_partitions, {schema}.keep_audit_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.keep_partitions, {schema}.keep_audit_partitions TO fangxian_{schema}_system;


-- Two-person rule -----------------------------------------------------------------------------------------------------

CREATE TABLE {schema}.proposals (
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
CREATE INDEX proposals_region_idx ON {schema}.proposals (region);
CREATE INDEX proposals_open_idx ON {schema}.proposals (expires_at) WHERE state = 'proposed';
COMMENT ON TABLE {schema}.proposals
    IS 'What one person proposed and another decides. An effect refers to (id, ''approved'').';
COMMENT ON COLUMN {schema}.proposals.content IS 'What exactly is decided. Never changed.';
-- Only the decision can change, and no proposal can be removed. The system also re-encrypts the reason under a new key.
ALTER TABLE {schema}.proposals ENABLE ROW LEVEL SECURITY;
GRANT INSERT ON {schema}.proposals TO fangxian_{schema}_staff;
GRANT SELECT, UPDATE (state, decided_by, decided_at, decision_sealed, version)
    ON {schema}.proposals TO fangxian_{schema}_staff, fangxian_{schema}_system;
GRANT UPDATE (reason_sealed) ON {schema}.proposals TO fangxian_{schema}_system;
CREATE POLICY region_in_scope ON {schema}.proposals TO fangxian_{schema}_staff, fangxian_{schema}_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));


-- Retention -----------------------------------------------------------------------------------------------------------
--
-- Nothing at run time removes data except the functions `purge_…`, one for each kind of data. Each takes the number of
-- rows it may remove at most, finds in `retention_periods` what is too old, and returns the number of rows it removed.
-- They run as the owner, so that nobody at run time can say what is too old.

CREATE TABLE {schema}.retention_periods (
    kind text COLLATE "C" PRIMARY KEY,
    days integer NOT NULL CONSTRAINT retention_days CHECK (days BETWEEN 1 AND 3650),
    source text NOT NULL,
    proposal_id uuid,
    approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    CONSTRAINT retention_periods_proposal_fkey FOREIGN KEY (proposal_id, approved)
        REFERENCES {schema}.proposals (id, state)
);
COMMENT ON TABLE {schema}.retention_periods
    IS 'How long each kind of data is kept. A period other than the first rests on an approved proposal.';
GRANT SELECT ON {schema}.retention_periods TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system;
GRANT UPDATE (days, source, proposal_id) ON {schema}.retention_periods TO fangxian_{schema}_staff;
INSERT INTO {schema}.retention_periods (kind, days, source) VALUES
    ('audit', 1095,
        'local decision: three years; Personal Information Protection Law, article 56, asks the same of records'),
    ('jobs', 90, 'local decision: as long as somebody may ask what became of a file');

CREATE TABLE {schema}.legal_holds (
    subject uuid PRIMARY KEY,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX legal_holds_resident_id_idx ON {schema}.legal_holds (resident_id);
COMMENT ON TABLE {schema}.legal_holds IS 'Whose data must not be removed yet, by the registry''s holds.';
ALTER TABLE {schema}.legal_holds ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.legal_holds TO fangxian_{schema}_system;
CREATE POLICY region_in_scope ON {schema}.legal_holds TO fangxian_{schema}_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE {schema}.purges (
    kind text COLLATE "C" NOT NULL,
    day date NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (kind, day)
);
COMMENT ON TABLE {schema}.purges IS 'How many rows of each kind were removed on each day.';
GRANT SELECT ON {schema}.purges TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system;

CREATE FUNCTION {schema}.is_held(resident uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {schema}, pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM legal_holds WHERE resident_id = resident AND until > now())
$$;

-- Fails for a kind without a period, so that a forgotten period keeps data and does not remove them.
CREATE FUNCTION {schema}.retention_cutoff(asked text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = {schema}, pg_catalog, pg_temp AS $$
DECLARE
    cutoff timestamptz;
BEGIN
    SELECT now() - make_interval(days => days) INTO STRICT cutoff FROM retention_periods WHERE kind = asked;
    RETURN cutoff;
END $$;

CREATE FUNCTION {schema}.count_purged(purged text, removed bigint) RETURNS void
LANGUAGE sql SET search_path = {schema}, pg_catalog, pg_temp AS $$
    INSERT INTO purges AS counted (kind, day, rows)
    SELECT purged, (now() AT TIME ZONE 'Asia/Shanghai')::date, removed WHERE removed > 0
    ON CONFLICT (kind, day) DO UPDATE SET rows = counted.rows + excluded.rows
$$;

CREATE FUNCTION {schema}.purge_jobs(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('jobs');
    removed bigint;
BEGIN
    DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_at < before ORDER BY seq LIMIT most);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('jobs', removed);
    RETURN removed;
END $$;

-- Whether entries are still needed: they are about somebody whose data are held, or they are not in a chain yet. A
-- chain with holes would prove nothing.
CREATE FUNCTION {schema}.is_audit_kept(entries regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (
            SELECT FROM {schema}.legal_holds AS hold JOIN %1$s AS entry ON entry.subjects @> ARRAY[hold.resident_id]
            WHERE hold.until > now()
        ) OR NOT EXISTS (SELECT FROM {schema}.audit_sealed)
        OR EXISTS (SELECT FROM %1$s WHERE (epoch, xid, seq) > (SELECT epoch, xid, seq FROM {schema}.audit_sealed))',
        entries
    ) INTO kept;
    RETURN kept;
END $$;

-- Drops whole months of the audit together with their chains, and keeps how the chain of each day ended. Rows in the
-- default partitions are older than any month. If somebody reads the audit for longer than half a second, nothing is
-- dropped, and the next purge tries again.
CREATE FUNCTION {schema}.drop_audit(before timestamptz) RETURNS bigint
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
    PERFORM pg_advisory_xact_lock(hashtext('{schema}.keep_partitions'));
    FOR entries, seals, month IN
        SELECT one.oid, to_regclass('{schema}.' || replace(one.relname, 'audit_', 'audit_seals_')),
            to_date(right(one.relname, 8), 'YYYYMMDD')
        FROM pg_class AS one JOIN pg_inherits ON inhrelid = one.oid
        WHERE inhparent = '{schema}.audit'::regclass AND one.relname ~ '^audit_[0-9]{8}$'
          AND to_date(right(one.relname, 8), 'YYYYMMDD') < last
        ORDER BY 3
    LOOP
        CONTINUE WHEN {schema}.is_audit_kept(entries);
        EXECUTE format('SELECT count(*) FROM %s', entries) INTO found;
        EXECUTE format(
            'INSERT INTO {schema}.audit_heads
            SELECT DISTINCT ON (day) day, position, hash FROM %s ORDER BY day, position DESC', seals
        );
        EXECUTE format('DROP TABLE %s', entries);
        EXECUTE format('DROP TABLE %s', seals);
        removed := removed + found;
    END LOOP;
    IF EXISTS (SELECT FROM {schema}.audit_default WHERE at < last)
        AND NOT {schema}.is_audit_kept('{schema}.audit_default')
    THEN
        INSERT INTO {schema}.audit_heads
        SELECT DISTINCT ON (day) day, position, hash FROM {schema}.audit_seals_default WHERE day < last
        ORDER BY day, position DESC;
        DELETE FROM {schema}.audit_seals_default WHERE day < last;
        DELETE FROM {schema}.audit_default WHERE at < last;
        GET DIAGNOSTICS found = ROW_COUNT;
        removed := removed + found;
    END IF;
    RETURN removed;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;

-- Whole months go at once, so `most` is not used.
CREATE FUNCTION {schema}.purge_audit(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_catalog, pg_temp AS $$
DECLARE
    removed bigint := drop_audit(retention_cutoff('audit'));
BEGIN
    PERFORM count_purged('audit', removed);
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION
    {schema}.retention_cutoff, {schema}.count_purged, {schema}.purge_jobs, {schema}.is_audit_kept, {schema}.drop_audit,
    {schema}.purge_audit
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.purge_jobs, {schema}.purge_audit TO fangxian_{schema}_system;


-- End of the emergency ------------------------------------------------------------------------------------------------

CREATE TABLE {schema}.sunset (
    "only" boolean PRIMARY KEY DEFAULT true CONSTRAINT sunset_once CHECK ("only"),
    declared_on date NOT NULL,
    decree text NOT NULL,
    proposal_id uuid NOT NULL,
    approved_at timestamptz NOT NULL,
    progress jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE {schema}.sunset IS 'Has its one row once the emergency is over. From then on nothing is collected.';
-- Nobody at run time takes it back.
GRANT SELECT ON {schema}.sunset TO
    fangxian_{schema}_staff, fangxian_{schema}_resident, fangxian_{schema}_machine, fangxian_{schema}_door,
    fangxian_{schema}_system;
