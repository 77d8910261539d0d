-- The schema of the registry. It follows migrations/common/0001_baseline.sql, which has what every schema begins with
-- and says what the policies compare with.
--
--   Regions, Residents, Imports, Birthdays, Proxies, Legal holds, Retention


-- Regions -------------------------------------------------------------------------------------------------------------
--
-- The rows are reference data, and no version contains them: migrations/regions.py loads them.

CREATE TABLE registry.regions (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL CONSTRAINT region_taken UNIQUE,
    name text NOT NULL,
    level text COLLATE "C" NOT NULL,
    parent text COLLATE "C" REFERENCES registry.regions (region),
    valid_from date,
    valid_until date,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT region_level CHECK (level = CASE length(region)
        WHEN 2 THEN 'province' WHEN 4 THEN 'city' WHEN 6 THEN 'county' WHEN 9 THEN 'township'
        WHEN 12 THEN 'community' WHEN 14 THEN 'patch' WHEN 16 THEN 'grid' END),
    CONSTRAINT region_parent CHECK (parent IS NULL OR starts_with(region, parent))
);
CREATE INDEX regions_region_seq_idx ON registry.regions (region, seq);
ALTER TABLE registry.regions ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON registry.regions TO fangxian_registry_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON registry.regions TO fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.regions TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
-- Everybody may read the tree of regions, because it is nobody's personal data.
GRANT SELECT ON registry.regions TO fangxian_registry_resident, fangxian_registry_machine, fangxian_registry_door;
CREATE POLICY public_data ON registry.regions FOR SELECT
    TO fangxian_registry_resident, fangxian_registry_machine, fangxian_registry_door
    USING (true);


-- Residents -----------------------------------------------------------------------------------------------------------
--
-- Residents with their history, requests to register somebody, transfers, and who saw whom in clear.
--
-- A document number is looked up by a blind index under one of two keys, which are rotated in turns: one has its values
-- in `document_index`, the other in `document_index_b`. While both keys are in use a registration writes both columns,
-- so that a number stays unique between processes that know the new key already and those that do not.

CREATE TABLE registry.residents (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL CONSTRAINT region_unknown REFERENCES registry.regions (region),
    document_type smallint NOT NULL,
    document_index bytea CONSTRAINT resident_exists UNIQUE,
    document_index_b bytea,
    document_number_sealed bytea NOT NULL,
    name_sealed bytea NOT NULL,
    phone_sealed bytea,
    phone_index bytea,
    address_sealed bytea,
    birth_date date NOT NULL,
    sex text COLLATE "C" NOT NULL,
    household_id uuid,
    pregnant_from date,
    pregnant_until date,
    dependent_from date,
    dependent_until date,
    state text COLLATE "C" NOT NULL DEFAULT 'active',
    closed_reason text COLLATE "C",
    since timestamptz NOT NULL,
    known_at timestamptz NOT NULL DEFAULT now(),
    by_hand boolean NOT NULL DEFAULT false,
    erasure_asked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT resident_region CHECK (length(region) IN (12, 14, 16)),
    CONSTRAINT resident_index CHECK (num_nonnulls(document_index, document_index_b) > 0),
    CONSTRAINT resident_sex CHECK (sex IN ('male', 'female')),
    CONSTRAINT resident_state CHECK (state IN ('active', 'closed')),
    CONSTRAINT resident_closed_reason CHECK ((state = 'closed') = (closed_reason IS NOT NULL)),
    CONSTRAINT resident_phone CHECK ((phone_sealed IS NULL) = (phone_index IS NULL)),
    CONSTRAINT resident_pregnant
        CHECK (pregnant_until IS NULL OR (pregnant_from IS NOT NULL AND pregnant_from <= pregnant_until)),
    CONSTRAINT resident_dependent
        CHECK (dependent_until IS NULL OR (dependent_from IS NOT NULL AND dependent_from <= dependent_until))
);
CREATE INDEX residents_region_seq_idx ON registry.residents (region, seq);
CREATE INDEX residents_phone_index_idx ON registry.residents (phone_index);
CREATE INDEX residents_household_id_idx ON registry.residents (household_id);
CREATE UNIQUE INDEX resident_exists_b ON registry.residents (document_index_b) WHERE document_index_b IS NOT NULL;
COMMENT ON COLUMN registry.residents.document_index IS 'Blind index of document type and number.';
COMMENT ON COLUMN registry.residents.document_index_b IS 'The same under the other of the two index keys.';
COMMENT ON COLUMN registry.residents.known_at
    IS 'The time of the newest thing known: of the change by hand, or of the date of the file.';
COMMENT ON COLUMN registry.residents.by_hand IS 'Whether the newest thing known was entered by hand.';
COMMENT ON COLUMN registry.residents.since IS 'Since when the columns that population counts read are as they are.';
ALTER TABLE registry.residents ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON registry.residents TO fangxian_registry_staff, fangxian_registry_system;
GRANT SELECT ON registry.residents TO fangxian_registry_resident;
CREATE POLICY region_in_scope ON registry.residents TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON registry.residents TO fangxian_registry_resident
    USING (id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));
-- Residents ask for the erasure of their own record.
GRANT UPDATE (erasure_asked_at) ON registry.residents TO fangxian_registry_resident;

CREATE TABLE registry.resident_history (
    resident_id uuid NOT NULL CONSTRAINT resident_history_resident_id_fkey REFERENCES registry.residents (id),
    until timestamptz NOT NULL,
    since timestamptz NOT NULL,
    region text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    birth_date date NOT NULL,
    household_id uuid,
    pregnant_from date,
    pregnant_until date,
    dependent_from date,
    dependent_until date,
    PRIMARY KEY (resident_id, until)
);
CREATE INDEX resident_history_region_idx ON registry.resident_history (region);
COMMENT ON TABLE registry.resident_history
    IS 'As what a resident was counted between since and until, to repeat an earlier count.';
ALTER TABLE registry.resident_history ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON registry.resident_history TO fangxian_registry_staff, fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.resident_history TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE registry.registrations (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL CONSTRAINT region_unknown REFERENCES registry.regions (region),
    document_index bytea NOT NULL,
    person_sealed bytea,
    actor text NOT NULL,
    scope_low text COLLATE "C" NOT NULL,
    scope_high text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'received',
    reason text COLLATE "C",
    resident_id uuid,
    transfer_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT registration_state CHECK (state IN ('received', 'settled', 'refused')),
    CONSTRAINT registration_person CHECK ((state = 'received') = (person_sealed IS NOT NULL)),
    CONSTRAINT registration_resident CHECK (state <> 'settled' OR resident_id IS NOT NULL)
);
CREATE INDEX registrations_region_seq_idx ON registry.registrations (region, seq);
CREATE INDEX registrations_document_index_idx ON registry.registrations (document_index) WHERE state = 'received';
CREATE INDEX registrations_transfer_id_idx ON registry.registrations (transfer_id) WHERE state = 'received';
CREATE INDEX registrations_waiting_idx
    ON registry.registrations (seq) WHERE state = 'received' AND transfer_id IS NULL;
COMMENT ON COLUMN registry.registrations.transfer_id
    IS 'Never shown to the caller, because it says that the person lives elsewhere.';
ALTER TABLE registry.registrations ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON registry.registrations TO fangxian_registry_staff;
GRANT SELECT, INSERT, UPDATE ON registry.registrations TO fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.registrations TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE registry.transfers (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL CONSTRAINT transfers_resident_id_fkey REFERENCES registry.residents (id),
    from_region text COLLATE "C" NOT NULL,
    to_region text COLLATE "C" NOT NULL CONSTRAINT region_unknown REFERENCES registry.regions (region),
    name_sealed bytea NOT NULL,
    document_number_sealed bytea NOT NULL,
    terms_sealed bytea,
    state text COLLATE "C" NOT NULL DEFAULT 'asked',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT transfer_state CHECK (state IN ('asked', 'accepted', 'refused', 'done')),
    CONSTRAINT transfer_kind CHECK (kind IN ('claim', 'offer'))
);
CREATE INDEX transfers_region_seq_idx ON registry.transfers (region, seq);
CREATE INDEX transfers_from_region_idx ON registry.transfers (from_region);
CREATE UNIQUE INDEX transfer_open ON registry.transfers (resident_id, to_region) WHERE state IN ('asked', 'accepted');
CREATE INDEX transfers_accepted_idx ON registry.transfers (seq) WHERE state = 'accepted';
COMMENT ON COLUMN registry.transfers.region
    IS 'Where it is decided: a claim where the person lives, an offer where the person goes.';
ALTER TABLE registry.transfers ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON registry.transfers TO fangxian_registry_staff, fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.transfers TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
-- Staff who offer a person see what becomes of the offer, but only staff of the region it goes to can accept it.
CREATE POLICY offer_made ON registry.transfers FOR INSERT TO fangxian_registry_staff
    WITH CHECK (
        from_region >= (SELECT current_setting('scope.low')) AND from_region < (SELECT current_setting('scope.high'))
    );
CREATE POLICY offer_seen ON registry.transfers FOR SELECT TO fangxian_registry_staff
    USING (
        from_region >= (SELECT current_setting('scope.low')) AND from_region < (SELECT current_setting('scope.high'))
    );

CREATE TABLE registry.reveals (
    actor text PRIMARY KEY,
    times timestamptz[] NOT NULL
);
COMMENT ON TABLE registry.reveals IS 'When each member of staff saw a person in clear within the last hour.';
GRANT SELECT, INSERT, UPDATE ON registry.reveals TO fangxian_registry_staff;


-- Imports -------------------------------------------------------------------------------------------------------------

CREATE TABLE registry.import_errors (
    job_id uuid NOT NULL CONSTRAINT import_errors_job_id_fkey REFERENCES registry.jobs (id) ON DELETE CASCADE,
    line integer NOT NULL,
    region text COLLATE "C" NOT NULL,
    row_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, line)
);
CREATE INDEX import_errors_region_idx ON registry.import_errors (region);
CREATE INDEX import_errors_created_at_idx ON registry.import_errors (created_at);
COMMENT ON TABLE registry.import_errors IS 'Rows that were not imported, as they were sent, and why.';
COMMENT ON COLUMN registry.import_errors.region IS 'The scope of the sender of the file.';
ALTER TABLE registry.import_errors ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON registry.import_errors TO fangxian_registry_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON registry.import_errors TO fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.import_errors TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));


-- Birthdays -----------------------------------------------------------------------------------------------------------
--
-- Somebody becomes an elder, or is no longer a child, on a birthday. Each day is looked at once.

CREATE TABLE registry.birthdays (
    day date PRIMARY KEY
);
COMMENT ON TABLE registry.birthdays IS 'Days whose birthdays were looked at.';
GRANT SELECT, INSERT ON registry.birthdays TO fangxian_registry_system;


-- Proxies -------------------------------------------------------------------------------------------------------------
--
-- Who may act for whom. Both people see it.

CREATE TABLE registry.proxies (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    guardian_id uuid NOT NULL CONSTRAINT proxies_guardian_id_fkey REFERENCES registry.residents (id),
    dependant_id uuid NOT NULL CONSTRAINT proxies_dependant_id_fkey REFERENCES registry.residents (id),
    state text COLLATE "C" NOT NULL DEFAULT 'active',
    evidence text NOT NULL,
    given_by text NOT NULL,
    ended_by text,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT proxy_self CHECK (guardian_id <> dependant_id),
    CONSTRAINT proxy_state CHECK (state IN ('active', 'ended')),
    CONSTRAINT proxy_ended CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX proxies_region_seq_idx ON registry.proxies (region, seq);
CREATE INDEX proxies_guardian_id_idx ON registry.proxies (guardian_id);
CREATE INDEX proxies_dependant_id_idx ON registry.proxies (dependant_id);
CREATE UNIQUE INDEX proxy_exists ON registry.proxies (guardian_id, dependant_id) WHERE state = 'active';
ALTER TABLE registry.proxies ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON registry.proxies TO fangxian_registry_staff, fangxian_registry_resident;
GRANT SELECT, INSERT, UPDATE, DELETE ON registry.proxies TO fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.proxies TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON registry.proxies TO fangxian_registry_resident
    USING (guardian_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (guardian_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));
CREATE POLICY dependant_in_scope ON registry.proxies TO fangxian_registry_resident
    USING (dependant_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (dependant_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));


-- Legal holds ---------------------------------------------------------------------------------------------------------
--
-- Data that a court or an authority needs is not removed. Every service follows these holds in its `legal_holds`. In
-- the registry staff write that table in the transaction of the hold, so that the registry's own data is held at once.

CREATE TABLE registry.holds (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL CONSTRAINT holds_resident_id_fkey REFERENCES registry.residents (id),
    reason_sealed bytea NOT NULL,
    ordered_by text NOT NULL,
    until timestamptz NOT NULL,
    released_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX holds_region_seq_idx ON registry.holds (region, seq);
CREATE INDEX holds_resident_id_idx ON registry.holds (resident_id);
COMMENT ON COLUMN registry.holds.ordered_by IS 'The court or authority.';
ALTER TABLE registry.holds ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON registry.holds TO fangxian_registry_staff;
-- The system re-encrypts the reason under a new key.
GRANT SELECT, UPDATE (reason_sealed) ON registry.holds TO fangxian_registry_system;
CREATE POLICY region_in_scope ON registry.holds TO fangxian_registry_staff, fangxian_registry_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

GRANT SELECT, INSERT, DELETE ON registry.legal_holds TO fangxian_registry_staff;
CREATE POLICY staff_region_in_scope ON registry.legal_holds TO fangxian_registry_staff
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));


-- Retention -----------------------------------------------------------------------------------------------------------

INSERT INTO registry.retention_periods (kind, days, source) VALUES
    ('closed_residents', 180, 'local decision: a record closed by mistake can be opened again for half a year'),
    ('registrations', 30, 'local decision: as long as somebody may ask what became of a request'),
    ('transfers', 180, 'local decision'),
    ('resident_history', 730, 'local decision: two years of counts can be made again (article 3)'),
    ('holds', 1095, 'local decision: three years after its release one can still be accounted for');

-- A closed record goes with everything that refers to it; at once if the person asked for it.
CREATE FUNCTION registry.purge_closed_residents(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = registry, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('closed_residents');
    removed bigint;
BEGIN
    WITH gone AS (
        SELECT id FROM residents
        WHERE state = 'closed' AND (updated_at < before OR erasure_asked_at IS NOT NULL) AND NOT is_held(id)
            AND NOT EXISTS (SELECT FROM holds WHERE resident_id = residents.id)
        ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED
    ),
    history AS (DELETE FROM resident_history USING gone WHERE resident_id = gone.id),
    transferred AS (DELETE FROM transfers USING gone WHERE resident_id = gone.id),
    guarded AS (DELETE FROM proxies USING gone WHERE gone.id IN (guardian_id, dependant_id)),
    registered AS (DELETE FROM registrations USING gone WHERE resident_id = gone.id)
    DELETE FROM residents USING gone WHERE residents.id = gone.id;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('closed_residents', removed);
    RETURN removed;
END $$;

CREATE FUNCTION registry.purge_registrations(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = registry, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('registrations');
    removed bigint;
BEGIN
    DELETE FROM registrations WHERE id IN (
        SELECT id FROM registrations WHERE state <> 'received' AND updated_at < before ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('registrations', removed);
    RETURN removed;
END $$;

CREATE FUNCTION registry.purge_transfers(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = registry, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('transfers');
    removed bigint;
BEGIN
    DELETE FROM transfers WHERE id IN (
        SELECT id FROM transfers WHERE state IN ('refused', 'done') AND updated_at < before
            AND NOT is_held(resident_id)
        ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('transfers', removed);
    RETURN removed;
END $$;

CREATE FUNCTION registry.purge_resident_history(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = registry, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('resident_history');
    removed bigint;
BEGIN
    DELETE FROM resident_history WHERE (resident_id, until) IN (
        SELECT resident_id, until FROM resident_history WHERE until < before AND NOT is_held(resident_id)
        LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('resident_history', removed);
    RETURN removed;
END $$;

CREATE FUNCTION registry.purge_holds(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = registry, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('holds');
    removed bigint;
BEGIN
    DELETE FROM holds WHERE id IN (
        SELECT id FROM holds WHERE least(released_at, until) < before ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('holds', removed);
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION
    registry.purge_closed_residents, registry.purge_registrations, registry.purge_transfers,
    registry.purge_resident_history, registry.purge_holds
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    registry.purge_closed_residents, registry.purge_registrations, registry.purge_transfers,
    registry.purge_resident_history, registry.purge_holds
    TO fangxian_registry_system;
