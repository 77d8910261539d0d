-- The schema of testing. It follows migrations/common/0001_baseline.sql, which has what every schema begins with and
-- says what the policies compare with.
--
--   People, Campaigns, Boxes, Tubes, Results, Retests, Retention


-- People --------------------------------------------------------------------------------------------------------------
--
-- What testing needs to know of other services: people who may be sampled, orders that put somebody into a tube of
-- their own, and laboratories.

CREATE TABLE testing.people (
    id uuid PRIMARY KEY,
    region text COLLATE "C" NOT NULL,
    active boolean NOT NULL
);
CREATE INDEX people_region_idx ON testing.people (region);
ALTER TABLE testing.people ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON testing.people TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.people TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.people TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE testing.observed (
    subject uuid PRIMARY KEY,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL
);
CREATE INDEX observed_resident_id_idx ON testing.observed (resident_id);
COMMENT ON COLUMN testing.observed.subject IS 'The order that puts the person into a tube of their own.';
ALTER TABLE testing.observed ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.observed TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.observed TO fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE testing.laboratories (
    id uuid PRIMARY KEY,
    party text COLLATE "C" NOT NULL,
    active boolean NOT NULL
);
CREATE INDEX laboratories_party_idx ON testing.laboratories (party) WHERE active;
GRANT SELECT ON testing.laboratories TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.laboratories TO fangxian_testing_system;


-- Campaigns -----------------------------------------------------------------------------------------------------------
--
-- Rounds of sampling, and the people expected in them.

CREATE TABLE testing.campaigns (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    name text NOT NULL,
    round bigint NOT NULL,
    pool_size bigint NOT NULL,
    opens_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL,
    drill boolean NOT NULL,
    expected bigint NOT NULL,
    opened_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT campaign_pool_size CHECK (pool_size IN (1, 5, 10, 20)),
    CONSTRAINT campaign_round CHECK (round BETWEEN 1 AND 1000),
    CONSTRAINT campaign_window CHECK (opens_at < closes_at),
    CONSTRAINT campaign_state CHECK (state IN ('planned', 'open', 'closed', 'cancelled')),
    CONSTRAINT campaign_ended CHECK ((ended_at IS NOT NULL) = (state IN ('closed', 'cancelled'))),
    CONSTRAINT campaign_opened CHECK (opened_at IS NOT NULL OR state IN ('planned', 'cancelled'))
);
CREATE INDEX campaigns_region_seq_idx ON testing.campaigns (region, seq);
COMMENT ON COLUMN testing.campaigns.ended_at IS 'When it was closed or cancelled.';
ALTER TABLE testing.campaigns ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON testing.campaigns TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.campaigns TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.campaigns TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
-- Everybody may read of every round, because it is nobody's personal data.
GRANT SELECT ON testing.campaigns TO fangxian_testing_resident, fangxian_testing_machine, fangxian_testing_door;
CREATE POLICY public_data ON testing.campaigns FOR SELECT
    TO fangxian_testing_staff, fangxian_testing_resident, fangxian_testing_machine, fangxian_testing_door
    USING (true);

CREATE TABLE testing.campaign_people (
    campaign_id uuid NOT NULL REFERENCES testing.campaigns (id),
    resident_id uuid NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    region text COLLATE "C" NOT NULL,
    PRIMARY KEY (campaign_id, resident_id)
);
CREATE INDEX campaign_people_campaign_id_region_seq_idx ON testing.campaign_people (campaign_id, region, seq);
ALTER TABLE testing.campaign_people ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON testing.campaign_people TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.campaign_people TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.campaign_people TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
-- The system runs ANALYZE: a round's people come all at once, and until then the planner takes the table for empty.
GRANT MAINTAIN ON testing.campaign_people TO fangxian_testing_system;


-- Boxes ---------------------------------------------------------------------------------------------------------------
--
-- Tubes on their way to a laboratory.

CREATE TABLE testing.boxes (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    laboratory text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'packed',
    tubes bigint NOT NULL,
    picked_up_at timestamptz,
    departed_at timestamptz,
    received_at timestamptz,
    unexpected text[] COLLATE "C" NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT box_state CHECK (state IN ('packed', 'picked_up', 'in_transit', 'received')),
    CONSTRAINT box_received CHECK ((received_at IS NOT NULL) = (state = 'received')),
    CONSTRAINT box_tubes CHECK (tubes > 0)
);
CREATE INDEX boxes_region_seq_idx ON testing.boxes (region, seq);
CREATE INDEX boxes_open_idx ON testing.boxes (laboratory) WHERE state <> 'received';
COMMENT ON COLUMN testing.boxes.tubes IS 'How many tubes were packed.';
COMMENT ON COLUMN testing.boxes.unexpected IS 'Numbers that were found in the box although nobody packed them.';
ALTER TABLE testing.boxes ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON testing.boxes TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.boxes TO fangxian_testing_system;
GRANT SELECT, UPDATE ON testing.boxes TO fangxian_testing_machine;
CREATE POLICY region_in_scope ON testing.boxes TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON testing.boxes TO fangxian_testing_machine
    USING (laboratory = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (laboratory = (SELECT nullif(current_setting('scope.party'), '')));


-- Tubes ---------------------------------------------------------------------------------------------------------------
--
-- Rolls of numbers, tubes, samples, and records of samples that could not be kept.

CREATE TABLE testing.tube_serials (
    "only" boolean PRIMARY KEY DEFAULT true,
    following bigint NOT NULL,
    CONSTRAINT tube_serials_one CHECK ("only")
);
GRANT SELECT, INSERT, UPDATE ON testing.tube_serials TO fangxian_testing_staff, fangxian_testing_system;

CREATE TABLE testing.rolls (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    campaign_id uuid NOT NULL REFERENCES testing.campaigns (id),
    capacity bigint NOT NULL,
    first bigint NOT NULL UNIQUE,
    last bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roll_capacity CHECK (capacity IN (1, 5, 10, 20)),
    CONSTRAINT roll_range CHECK (first <= last)
);
CREATE INDEX rolls_region_seq_idx ON testing.rolls (region, seq);
CREATE INDEX rolls_campaign_id_idx ON testing.rolls (campaign_id);
ALTER TABLE testing.rolls ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON testing.rolls TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.rolls TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.rolls TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE testing.tubes (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    campaign_id uuid NOT NULL REFERENCES testing.campaigns (id),
    number text COLLATE "C" NOT NULL CONSTRAINT tube_number_taken UNIQUE,
    capacity bigint NOT NULL,
    drill boolean NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'open',
    people bigint NOT NULL DEFAULT 0,
    answers uuid[] NOT NULL DEFAULT '{}',
    first_sampled_at timestamptz,
    manifest uuid[],
    missing bigint NOT NULL DEFAULT 0,
    sealed_at timestamptz,
    received_at timestamptz,
    late boolean NOT NULL DEFAULT false,
    laboratory text COLLATE "C",
    box_id uuid REFERENCES testing.boxes (id),
    outcome text COLLATE "C",
    revision bigint,
    tested_at timestamptz,
    reported_at timestamptz,
    held boolean NOT NULL DEFAULT false,
    discarded_at timestamptz,
    discard_reason text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tube_capacity CHECK (capacity IN (1, 5, 10, 20)),
    CONSTRAINT tube_full CHECK (people BETWEEN 0 AND capacity),
    CONSTRAINT tube_state CHECK (
        state IN ('open', 'sealed', 'in_transit', 'received', 'resulted', 'discarded')
    ),
    CONSTRAINT tube_manifest CHECK (
        (manifest IS NULL) = (sealed_at IS NULL) AND (manifest IS NOT NULL OR state IN ('open', 'discarded'))
        AND (manifest IS NULL OR state <> 'open')
    ),
    CONSTRAINT tube_missing CHECK (missing BETWEEN 0 AND coalesce(cardinality(manifest), 0)),
    CONSTRAINT tube_received CHECK (received_at IS NOT NULL OR state NOT IN ('received', 'resulted')),
    CONSTRAINT tube_laboratory CHECK (received_at IS NULL OR laboratory IS NOT NULL),
    CONSTRAINT tube_result CHECK (
        num_nulls(outcome, revision, tested_at, reported_at) IN (0, 4)
        AND (outcome IS NOT NULL OR state <> 'resulted')
        AND (outcome IS NULL OR state IN ('resulted', 'discarded'))
    ),
    CONSTRAINT tube_outcome CHECK (outcome IN ('negative', 'positive', 'inconclusive', 'invalid')),
    CONSTRAINT tube_held CHECK (held = (outcome IS NOT NULL AND missing > 0)),
    CONSTRAINT tube_discarded CHECK ((discarded_at IS NULL) = (state <> 'discarded')),
    CONSTRAINT tube_answers CHECK (answers = '{}' OR capacity = 1)
) WITH (fillfactor = 45);
CREATE INDEX tubes_region_seq_idx ON testing.tubes (region, seq);
CREATE INDEX tubes_campaign_id_idx ON testing.tubes (campaign_id);
CREATE INDEX tubes_box_id_idx ON testing.tubes (box_id);
-- With the id, by which a laboratory reports. Without it the planner may choose another index, because it knows nothing
-- of tubes that were all sent since the last ANALYZE.
CREATE INDEX tubes_laboratory_idx ON testing.tubes (laboratory, id) WHERE laboratory IS NOT NULL;
COMMENT ON COLUMN testing.tubes.people IS 'Samples in it without an exception.';
COMMENT ON COLUMN testing.tubes.missing IS 'Samples that the manifest lists and that have not arrived yet.';
ALTER TABLE testing.tubes ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE ON testing.tubes TO fangxian_testing_staff, fangxian_testing_machine;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.tubes TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.tubes TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON testing.tubes TO fangxian_testing_machine
    USING (laboratory = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (laboratory = (SELECT nullif(current_setting('scope.party'), '')));

-- A sealed tube never changes: the manifest, and which tube it is, stay as they were, whatever a statement says.
CREATE FUNCTION testing.refuse_change_of_seal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'a sealed tube never changes'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'tube_sealed', TABLE = 'tubes', SCHEMA = 'testing';
END $$;
CREATE TRIGGER sealed_for_good BEFORE UPDATE ON testing.tubes FOR EACH ROW
    WHEN (OLD.manifest IS NOT NULL
        AND (OLD.manifest, OLD.sealed_at, OLD.number, OLD.capacity, OLD.campaign_id, OLD.region)
        IS DISTINCT FROM (NEW.manifest, NEW.sealed_at, NEW.number, NEW.capacity, NEW.campaign_id, NEW.region))
    EXECUTE FUNCTION testing.refuse_change_of_seal();

CREATE TABLE testing.samples (
    id uuid PRIMARY KEY,
    campaign_id uuid NOT NULL,
    tube_id uuid NOT NULL REFERENCES testing.tubes (id),
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    home text COLLATE "C",
    sampled_at timestamptz NOT NULL,
    exception text COLLATE "C",
    offline boolean NOT NULL,
    retest boolean NOT NULL,
    counted boolean NOT NULL,
    moved_from uuid,
    moved_reason text COLLATE "C",
    undone_at timestamptz,
    undone_reason text COLLATE "C",
    kept_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sample_exception CHECK (
        exception IN ('over_capacity', 'twice_in_round', 'single_only', 'after_close', 'stale_code')
    ),
    CONSTRAINT sample_counted CHECK (NOT counted OR (exception IS NULL AND undone_at IS NULL AND NOT retest)),
    CONSTRAINT sample_undone CHECK ((undone_at IS NULL) = (undone_reason IS NULL))
);
CREATE INDEX samples_tube_id_idx ON testing.samples (tube_id);
CREATE INDEX samples_resident_id_idx ON testing.samples (resident_id);
CREATE UNIQUE INDEX twice_in_round ON testing.samples (campaign_id, resident_id) INCLUDE (home, region) WHERE counted;
CREATE INDEX samples_exceptions_idx ON testing.samples (campaign_id, resident_id) WHERE exception IS NOT NULL;
COMMENT ON COLUMN testing.samples.id IS 'Made by the device.';
COMMENT ON COLUMN testing.samples.retest IS 'Taken for the pools of its tube and not for the round.';
COMMENT ON COLUMN testing.samples.counted IS 'Takes the person''s only place in the round.';
COMMENT ON COLUMN testing.samples.moved_from IS 'The tube it was recorded in first.';
ALTER TABLE testing.samples ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE ON testing.samples TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.samples TO fangxian_testing_system;
GRANT SELECT ON testing.samples TO fangxian_testing_resident;
CREATE POLICY region_in_scope ON testing.samples TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON testing.samples TO fangxian_testing_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));

CREATE TABLE testing.refused_samples (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    sample_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    tube_number text COLLATE "C" NOT NULL,
    resident_id uuid,
    sampled_at timestamptz NOT NULL,
    reason text COLLATE "C" NOT NULL,
    resolved_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (sample_id, reason)
);
CREATE INDEX refused_samples_region_seq_idx ON testing.refused_samples (region, seq);
COMMENT ON COLUMN testing.refused_samples.resident_id IS 'Null if the scanned code does not identify a person.';
COMMENT ON COLUMN testing.refused_samples.reason IS 'The code of the problem.';
COMMENT ON COLUMN testing.refused_samples.resolved_at IS 'When the same record was kept after all.';
ALTER TABLE testing.refused_samples ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON testing.refused_samples TO fangxian_testing_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.refused_samples TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.refused_samples TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));


-- Results -------------------------------------------------------------------------------------------------------------
--
-- Every report of a laboratory. A higher revision corrects a lower one.

CREATE TABLE testing.results (
    tube_id uuid NOT NULL REFERENCES testing.tubes (id),
    revision bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    laboratory text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    tested_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (tube_id, revision),
    CONSTRAINT result_revision CHECK (revision BETWEEN 1 AND 1000),
    CONSTRAINT result_outcome CHECK (outcome IN ('negative', 'positive', 'inconclusive', 'invalid'))
);
ALTER TABLE testing.results ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON testing.results TO fangxian_testing_staff, fangxian_testing_machine;
GRANT SELECT, INSERT ON testing.results TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.results TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON testing.results TO fangxian_testing_machine
    USING (laboratory = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (laboratory = (SELECT nullif(current_setting('scope.party'), '')));


-- Retests -------------------------------------------------------------------------------------------------------------
--
-- Members of a positive pool, called to a tube of their own.

CREATE TABLE testing.retests (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL,
    pool_id uuid NOT NULL REFERENCES testing.tubes (id),
    state text COLLATE "C" NOT NULL,
    called_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    tube_id uuid REFERENCES testing.tubes (id),
    outcome text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (pool_id, resident_id),
    CONSTRAINT retest_state CHECK (state IN ('called', 'sampled', 'settled', 'withdrawn')),
    CONSTRAINT retest_outcome CHECK (outcome IN ('negative', 'positive')),
    CONSTRAINT retest_settled CHECK ((outcome IS NOT NULL) = (state = 'settled')),
    CONSTRAINT retest_sampled CHECK (tube_id IS NOT NULL OR state IN ('called', 'withdrawn')),
    CONSTRAINT retest_called CHECK (tube_id IS NULL OR state <> 'called')
);
CREATE INDEX retests_region_seq_idx ON testing.retests (region, seq);
CREATE INDEX retests_resident_id_idx ON testing.retests (resident_id);
CREATE INDEX retests_tube_id_idx ON testing.retests (tube_id);
CREATE INDEX retests_open_idx ON testing.retests (due_at) WHERE state IN ('called', 'sampled');
ALTER TABLE testing.retests ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON testing.retests TO fangxian_testing_staff, fangxian_testing_resident;
GRANT SELECT, INSERT, UPDATE, DELETE ON testing.retests TO fangxian_testing_system;
CREATE POLICY region_in_scope ON testing.retests TO fangxian_testing_staff, fangxian_testing_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON testing.retests TO fangxian_testing_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));


-- Retention -----------------------------------------------------------------------------------------------------------

INSERT INTO testing.retention_periods (kind, days, source) VALUES
    ('samples', 180, 'local decision: half a year after the swab, for a certificate or a complaint'),
    ('refused_samples', 180, 'local decision: as the samples'),
    ('retests', 180, 'local decision: as the samples'),
    ('tubes', 180, 'local decision: as the samples; none goes while a sample or a retest speaks of it'),
    ('expected_people', 180, 'local decision: as the samples');

-- A sample stays while a retest in the same tube is open.
CREATE FUNCTION testing.purge_samples(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testing, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('samples');
    removed bigint;
BEGIN
    DELETE FROM samples WHERE id IN (
        SELECT id FROM samples WHERE kept_at < before AND NOT is_held(resident_id)
            AND NOT EXISTS (
                SELECT FROM retests WHERE retests.tube_id = samples.tube_id AND state IN ('called', 'sampled')
            )
        LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('samples', removed);
    RETURN removed;
END $$;

CREATE FUNCTION testing.purge_refused_samples(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testing, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('refused_samples');
    removed bigint;
BEGIN
    DELETE FROM refused_samples WHERE id IN (
        SELECT id FROM refused_samples WHERE created_at < before AND NOT is_held(resident_id)
        ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('refused_samples', removed);
    RETURN removed;
END $$;

CREATE FUNCTION testing.purge_retests(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testing, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('retests');
    removed bigint;
BEGIN
    DELETE FROM retests WHERE id IN (
        SELECT id FROM retests WHERE state IN ('settled', 'withdrawn') AND updated_at < before
            AND NOT is_held(resident_id)
        ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('retests', removed);
    RETURN removed;
END $$;

-- A tube goes with its results, and stays while a sample or a retest refers to it.
CREATE FUNCTION testing.purge_tubes(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testing, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('tubes');
    removed bigint;
BEGIN
    WITH gone AS (
        SELECT id FROM tubes WHERE updated_at < before
            AND NOT EXISTS (SELECT FROM samples WHERE tube_id = tubes.id)
            AND NOT EXISTS (SELECT FROM retests WHERE pool_id = tubes.id OR tube_id = tubes.id)
        ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED
    ),
    said AS (DELETE FROM results USING gone WHERE tube_id = gone.id)
    DELETE FROM tubes USING gone WHERE tubes.id = gone.id;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('tubes', removed);
    RETURN removed;
END $$;

CREATE FUNCTION testing.purge_expected_people(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testing, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('expected_people');
    removed bigint;
BEGIN
    DELETE FROM campaign_people WHERE (campaign_id, resident_id) IN (
        SELECT campaign_id, resident_id FROM campaign_people JOIN campaigns ON campaigns.id = campaign_id
        WHERE ended_at < before AND NOT is_held(resident_id) LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('expected_people', removed);
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION
    testing.purge_samples, testing.purge_refused_samples, testing.purge_retests, testing.purge_tubes,
    testing.purge_expected_people
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    testing.purge_samples, testing.purge_refused_samples, testing.purge_retests, testing.purge_tubes,
    testing.purge_expected_people
    TO fangxian_testing_system;
