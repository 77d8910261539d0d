-- The schema of observation. It follows migrations/common/0001_baseline.sql, which has what every schema begins with
-- and says what the policies compare with.
--
--   People, Protocols, Orders, Referrals, Messages, Retention


-- People --------------------------------------------------------------------------------------------------------------
--
-- What observation needs to know of residents and of tubes with one person. Only the worker reads it: what staff may
-- see of a finding is in the order or the referral it led to.

CREATE TABLE observation.people (
    id uuid PRIMARY KEY,
    region text COLLATE "C" NOT NULL,
    household_id uuid,
    active boolean NOT NULL,
    tags jsonb NOT NULL
);
CREATE INDEX people_household_id_idx ON observation.people (household_id) WHERE household_id IS NOT NULL;
ALTER TABLE observation.people ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.people TO fangxian_observation_system;
CREATE POLICY region_in_scope ON observation.people TO fangxian_observation_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE observation.findings (
    subject uuid NOT NULL,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    positive boolean NOT NULL,
    sampled_at timestamptz NOT NULL,
    tested_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (subject, resident_id)
);
CREATE INDEX findings_resident_id_idx ON observation.findings (resident_id);
COMMENT ON COLUMN observation.findings.subject IS 'The tube.';
COMMENT ON COLUMN observation.findings.region IS 'Where the tube was filled.';
ALTER TABLE observation.findings ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.findings TO fangxian_observation_system;
CREATE POLICY region_in_scope ON observation.findings TO fangxian_observation_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));


-- Protocols -----------------------------------------------------------------------------------------------------------
--
-- The versions of the observation protocol. Version 1 is the plan of January 2021. Two people publish each later
-- version: it refers to an approved proposal.

CREATE TABLE observation.protocols (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    number bigint NOT NULL CONSTRAINT protocol_taken UNIQUE,
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    proposal_id uuid CONSTRAINT protocols_proposal_id_key UNIQUE,
    approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    CONSTRAINT protocol_proposed CHECK (number = 1 OR proposal_id IS NOT NULL),
    CONSTRAINT protocols_proposal_fkey FOREIGN KEY (proposal_id, approved)
        REFERENCES observation.proposals (id, state)
);
CREATE INDEX protocols_region_seq_idx ON observation.protocols (region, seq);
ALTER TABLE observation.protocols ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON observation.protocols TO fangxian_observation_system;
CREATE POLICY region_in_scope ON observation.protocols TO fangxian_observation_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
-- Everybody may read every protocol, because it is nobody's personal data. Nobody may change one.
GRANT SELECT ON observation.protocols TO
    fangxian_observation_staff, fangxian_observation_resident, fangxian_observation_machine, fangxian_observation_door;
GRANT INSERT ON observation.protocols TO fangxian_observation_staff;
CREATE POLICY public_data ON observation.protocols FOR SELECT
    TO fangxian_observation_staff, fangxian_observation_resident, fangxian_observation_machine,
       fangxian_observation_door
    USING (true);
CREATE POLICY publishing ON observation.protocols FOR INSERT TO fangxian_observation_staff WITH CHECK (true);


-- Orders --------------------------------------------------------------------------------------------------------------
--
-- Observation orders.

CREATE TABLE observation.orders (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    protocol bigint NOT NULL,
    evidence_type text NOT NULL,
    evidence_id uuid NOT NULL,
    day_0 date NOT NULL,
    exposures uuid[] NOT NULL,
    opened_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text,
    kind_set text COLLATE "C",
    kind_reason text,
    extra_days bigint NOT NULL DEFAULT 0,
    extra_reason text,
    negatives date[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT order_kind CHECK (kind IN ('central', 'home', 'monitoring')),
    CONSTRAINT order_state CHECK (state IN ('open', 'ended', 'withdrawn')),
    CONSTRAINT order_ended_at CHECK ((state = 'open') = (ended_at IS NULL)),
    CONSTRAINT order_end_reason CHECK ((state = 'open') = (end_reason IS NULL)),
    CONSTRAINT order_extra_days CHECK (extra_days BETWEEN 0 AND 60)
);
CREATE INDEX orders_region_seq_idx ON observation.orders (region, seq);
CREATE INDEX orders_resident_id_idx ON observation.orders (resident_id);
CREATE INDEX orders_evidence_id_idx ON observation.orders (evidence_id);
CREATE UNIQUE INDEX order_open ON observation.orders (resident_id) WHERE state = 'open';
COMMENT ON COLUMN observation.orders.exposures IS 'The tubes of all positives of the household of the evidence.';
COMMENT ON COLUMN observation.orders.kind_set IS 'The kind that staff set; without it the kind follows from tags.';
COMMENT ON COLUMN observation.orders.negatives IS 'Days of the person''s own negative single tubes since day 0.';
ALTER TABLE observation.orders ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE ON observation.orders TO fangxian_observation_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.orders TO fangxian_observation_system;
GRANT SELECT ON observation.orders TO fangxian_observation_resident;
CREATE POLICY region_in_scope ON observation.orders TO fangxian_observation_staff, fangxian_observation_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON observation.orders TO fangxian_observation_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));


-- Referrals -----------------------------------------------------------------------------------------------------------
--
-- Fever cases from report to hospital outcome, and the fevers that were reported.

CREATE TABLE observation.referrals (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    resident_id uuid NOT NULL,
    reason text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    evidence_type text,
    evidence_id uuid,
    protocol bigint NOT NULL,
    reporter text NOT NULL,
    desk text NOT NULL,
    hospital text,
    reported_at timestamptz NOT NULL,
    since timestamptz NOT NULL,
    dispatched_at timestamptz,
    on_board_at timestamptz,
    handed_over_at timestamptz,
    closed_at timestamptz,
    due_at timestamptz,
    overdue_at timestamptz,
    cancelled_at timestamptz,
    cancel_reason text,
    reveals timestamptz[] NOT NULL DEFAULT '{}',
    withdrawn boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT referral_reason CHECK (reason IN ('fever', 'positive')),
    CONSTRAINT referral_state CHECK (state IN (
        'reported', 'dispatched', 'on_board', 'handed_over', 'ruled_out', 'admitted', 'confirmed', 'cancelled', 'left'
    )),
    CONSTRAINT referral_closed
        CHECK ((closed_at IS NOT NULL) = (state IN ('ruled_out', 'admitted', 'confirmed', 'cancelled'))),
    CONSTRAINT referral_evidence_type CHECK ((evidence_id IS NULL) = (evidence_type IS NULL)),
    CONSTRAINT referral_evidence CHECK (reason <> 'positive' OR evidence_id IS NOT NULL),
    CONSTRAINT referral_cancel_reason CHECK ((cancelled_at IS NULL) = (cancel_reason IS NULL))
);
CREATE INDEX referrals_region_seq_idx ON observation.referrals (region, seq);
CREATE INDEX referrals_resident_id_idx ON observation.referrals (resident_id);
CREATE INDEX referrals_evidence_id_idx ON observation.referrals (evidence_id);
CREATE UNIQUE INDEX referral_open ON observation.referrals (resident_id) WHERE closed_at IS NULL;
CREATE INDEX referrals_due_at_idx ON observation.referrals (due_at) WHERE closed_at IS NULL AND overdue_at IS NULL;
CREATE INDEX referrals_hospital_idx ON observation.referrals (hospital) WHERE hospital IS NOT NULL;
COMMENT ON COLUMN observation.referrals.reporter
    IS 'The machine or service point that reported it; empty for staff and the worker.';
COMMENT ON COLUMN observation.referrals.desk IS 'The 120 desk that handles it.';
COMMENT ON COLUMN observation.referrals.hospital IS 'The hospital, once a message names it.';
COMMENT ON COLUMN observation.referrals.since IS 'When it entered its present state.';
COMMENT ON COLUMN observation.referrals.due_at IS 'By when it must reach the next stage.';
COMMENT ON COLUMN observation.referrals.overdue_at IS 'Since when the alarm is on.';
COMMENT ON COLUMN observation.referrals.reveals IS 'When the person was shown in clear within the last hour.';
COMMENT ON COLUMN observation.referrals.withdrawn IS 'Cancelled because its evidence was taken back.';
ALTER TABLE observation.referrals ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON observation.referrals TO fangxian_observation_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.referrals TO fangxian_observation_system;
GRANT INSERT ON observation.referrals TO fangxian_observation_door;
GRANT SELECT ON observation.referrals TO fangxian_observation_resident;
GRANT SELECT, INSERT ON observation.referrals TO fangxian_observation_machine;
CREATE POLICY region_in_scope ON observation.referrals
    TO fangxian_observation_staff, fangxian_observation_system, fangxian_observation_door
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON observation.referrals TO fangxian_observation_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));
CREATE POLICY party_in_scope ON observation.referrals TO fangxian_observation_machine
    USING (desk = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (desk = (SELECT nullif(current_setting('scope.party'), '')));
-- A hospital sees the referrals it reported and those it is named in. It may write only its own report.
CREATE POLICY reporter_in_scope ON observation.referrals TO fangxian_observation_machine
    USING (reporter = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (reporter = (SELECT nullif(current_setting('scope.party'), '')));
CREATE POLICY hospital_in_scope ON observation.referrals FOR SELECT TO fangxian_observation_machine
    USING (hospital = (SELECT nullif(current_setting('scope.party'), '')));

-- A caller who reports a fever is answered with the open referral of the person, even if it was reported elsewhere.
-- This is the only thing a caller sees outside of their scope.
CREATE FUNCTION observation.open_referral_of(resident uuid) RETURNS SETOF observation.referrals
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM observation.referrals WHERE resident_id = resident AND closed_at IS NULL FOR UPDATE
$$;
REVOKE ALL ON FUNCTION observation.open_referral_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION observation.open_referral_of
    TO fangxian_observation_staff, fangxian_observation_machine, fangxian_observation_door;

CREATE TABLE observation.fevers (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    referral_id uuid NOT NULL CONSTRAINT fevers_referral_id_fkey REFERENCES observation.referrals (id),
    resident_id uuid NOT NULL,
    party text NOT NULL,
    role text NOT NULL,
    celsius numeric(3, 1) NOT NULL,
    symptoms text[] NOT NULL,
    measured_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fever_celsius CHECK (celsius BETWEEN 30 AND 45)
);
CREATE INDEX fevers_region_seq_idx ON observation.fevers (region, seq);
CREATE INDEX fevers_referral_id_idx ON observation.fevers (referral_id);
CREATE INDEX fevers_resident_id_idx ON observation.fevers (resident_id);
COMMENT ON COLUMN observation.fevers.party IS 'The machine or service point that measured it; empty for people.';
ALTER TABLE observation.fevers ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON observation.fevers TO fangxian_observation_staff, fangxian_observation_machine;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.fevers TO fangxian_observation_system;
GRANT INSERT ON observation.fevers TO fangxian_observation_door;
GRANT SELECT ON observation.fevers TO fangxian_observation_resident;
CREATE POLICY region_in_scope ON observation.fevers
    TO fangxian_observation_staff, fangxian_observation_system, fangxian_observation_door
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON observation.fevers TO fangxian_observation_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));
CREATE POLICY party_in_scope ON observation.fevers TO fangxian_observation_machine
    USING (party = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (party = (SELECT nullif(current_setting('scope.party'), '')));
-- A machine sees the fevers of the referrals it sees.
CREATE POLICY referral_in_scope ON observation.fevers FOR SELECT TO fangxian_observation_machine
    USING (referral_id IN (SELECT id FROM observation.referrals));


-- Messages ------------------------------------------------------------------------------------------------------------
--
-- What the 120 desk and hospitals reported about referrals.

CREATE TABLE observation.messages (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    party text NOT NULL,
    message_id text NOT NULL,
    kind text NOT NULL,
    referral_id uuid,
    hospital text,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_state CHECK (state IN ('applied', 'rejected')),
    CONSTRAINT message_reason CHECK ((state = 'rejected') = (reason IS NOT NULL))
);
CREATE INDEX messages_region_seq_idx ON observation.messages (region, seq);
CREATE INDEX messages_referral_id_idx ON observation.messages (referral_id) WHERE referral_id IS NOT NULL;
ALTER TABLE observation.messages ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON observation.messages TO fangxian_observation_staff, fangxian_observation_machine;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.messages TO fangxian_observation_system;
CREATE POLICY region_in_scope ON observation.messages TO fangxian_observation_staff, fangxian_observation_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON observation.messages TO fangxian_observation_machine
    USING (party = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (party = (SELECT nullif(current_setting('scope.party'), '')));


-- Retention -----------------------------------------------------------------------------------------------------------

INSERT INTO observation.retention_periods (kind, days, source) VALUES
    ('orders', 365, 'local decision: a year after the end, for a complaint'),
    ('referrals', 365, 'local decision: a year after the outcome, for a complaint'),
    ('findings', 180, 'local decision: as testing''s samples'),
    ('messages', 180, 'local decision: as the gateway''s');

CREATE FUNCTION observation.purge_orders(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observation, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('orders');
    removed bigint;
BEGIN
    DELETE FROM orders WHERE id IN (
        SELECT id FROM orders WHERE ended_at < before AND NOT is_held(resident_id) ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('orders', removed);
    RETURN removed;
END $$;

CREATE FUNCTION observation.purge_referrals(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observation, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('referrals');
    removed bigint;
BEGIN
    WITH gone AS (
        SELECT id FROM referrals WHERE closed_at < before AND NOT is_held(resident_id)
        ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED
    ),
    measured AS (DELETE FROM fevers USING gone WHERE referral_id = gone.id)
    DELETE FROM referrals USING gone WHERE referrals.id = gone.id;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('referrals', removed);
    RETURN removed;
END $$;

-- A finding stays while an open order or referral rests on it.
CREATE FUNCTION observation.purge_findings(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observation, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('findings');
    removed bigint;
BEGIN
    DELETE FROM findings WHERE (subject, resident_id) IN (
        SELECT subject, resident_id FROM findings WHERE reported_at < before AND NOT is_held(resident_id)
            AND NOT EXISTS (SELECT FROM orders WHERE evidence_id = subject AND state = 'open')
            AND NOT EXISTS (SELECT FROM referrals WHERE evidence_id = subject AND closed_at IS NULL)
        LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('findings', removed);
    RETURN removed;
END $$;

CREATE FUNCTION observation.purge_messages(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observation, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('messages');
    removed bigint;
BEGIN
    DELETE FROM messages WHERE id IN (
        SELECT id FROM messages WHERE received_at < before ORDER BY seq LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('messages', removed);
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION
    observation.purge_orders, observation.purge_referrals, observation.purge_findings, observation.purge_messages
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    observation.purge_orders, observation.purge_referrals, observation.purge_findings, observation.purge_messages
    TO fangxian_observation_system;
