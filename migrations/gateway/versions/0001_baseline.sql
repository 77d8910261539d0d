-- The schema of the gateway. It follows migrations/common/0001_baseline.sql, which has what every schema begins with
-- and says what the policies compare with.
--
--   Policies, Codes, Service points and visits, Chained visits, Messages, Webhooks, Accounts, Grants, Issuer, Parties,
--   Guardianships, Retention, End of the emergency


-- Policies ------------------------------------------------------------------------------------------------------------
--
-- The versions of the code policy. Version 1 is that of January 2021. Two people publish each later version: it refers
-- to an approved proposal.

CREATE TABLE gateway.policies (
    version bigint CONSTRAINT policy_taken PRIMARY KEY,
    document jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    proposal_id uuid CONSTRAINT policies_proposal_id_key UNIQUE,
    approved text NOT NULL GENERATED ALWAYS AS ('approved') STORED,
    CONSTRAINT policy_proposed CHECK (version = 1 OR proposal_id IS NOT NULL),
    CONSTRAINT policies_proposal_fkey FOREIGN KEY (proposal_id, approved) REFERENCES gateway.proposals (id, state)
);
-- Everybody may read every policy, because it is nobody's personal data. Nobody may change one.
GRANT SELECT ON gateway.policies TO
    fangxian_gateway_staff, fangxian_gateway_resident, fangxian_gateway_machine, fangxian_gateway_door,
    fangxian_gateway_system;
GRANT INSERT ON gateway.policies TO fangxian_gateway_staff;


-- Codes ---------------------------------------------------------------------------------------------------------------
--
-- Codes, and the facts they follow from. Nobody can set a colour: only the system writes codes, by evaluating facts.

CREATE TABLE gateway.codes (
    resident_id uuid PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    colour smallint NOT NULL DEFAULT 1,
    until timestamptz,
    colour_after smallint,
    green_from timestamptz,
    last_negative timestamptz,
    policy bigint NOT NULL,
    reasons jsonb NOT NULL DEFAULT '[]',
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT code_colour CHECK (colour BETWEEN 1 AND 3 AND colour_after BETWEEN 1 AND 3),
    CONSTRAINT code_reasons CHECK ((colour = 1) = (reasons = '[]' OR NOT reasons @? '$[*] ? (@.colour > 1)'))
) WITH (fillfactor = 80);
CREATE INDEX codes_region_idx ON gateway.codes (region);
CREATE INDEX codes_ending_idx ON gateway.codes (until) WHERE colour > 1 AND until IS NOT NULL;
ALTER TABLE gateway.codes ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON gateway.codes TO fangxian_gateway_staff, fangxian_gateway_resident;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.codes TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.codes TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON gateway.codes TO fangxian_gateway_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));
-- Anybody may come to any door, so a door reads every row. It is the columns that limit what it reads.
GRANT SELECT (resident_id, colour, until, colour_after, green_from, last_negative) ON gateway.codes
    TO fangxian_gateway_door;
CREATE POLICY door ON gateway.codes FOR SELECT TO fangxian_gateway_door USING (true);

CREATE TABLE gateway.facts (
    subject uuid NOT NULL,
    number smallint NOT NULL,
    resident_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    source_type text NOT NULL,
    kind text NOT NULL,
    variant text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    until timestamptz,
    answers uuid,
    sampled_at timestamptz,
    pool_size smallint,
    earliest_end timestamptz,
    PRIMARY KEY (subject, number)
);
CREATE INDEX facts_negative_idx ON gateway.facts (resident_id, sampled_at) WHERE kind = 'negative';
CREATE INDEX facts_deciding_idx ON gateway.facts (resident_id) WHERE kind <> 'negative' OR answers IS NOT NULL;
CREATE INDEX facts_sampled_at_idx ON gateway.facts USING brin (sampled_at);
ALTER TABLE gateway.facts ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.facts TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.facts TO fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE gateway.code_changes (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    resident_id uuid NOT NULL,
    version bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    colour smallint NOT NULL,
    policy bigint NOT NULL,
    reasons jsonb NOT NULL
);
CREATE INDEX code_changes_resident_id_idx ON gateway.code_changes (resident_id);
ALTER TABLE gateway.code_changes ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON gateway.code_changes TO fangxian_gateway_staff, fangxian_gateway_resident;
GRANT SELECT, INSERT ON gateway.code_changes TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.code_changes TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON gateway.code_changes TO fangxian_gateway_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));


-- Service points and visits -------------------------------------------------------------------------------------------
--
-- One statement of a door answers the scans of many service points, so a door has no scope. A visit copies the region
-- of its service point.

CREATE TABLE gateway.points (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    name text NOT NULL,
    passes text[] NOT NULL,
    registers text[] NOT NULL,
    negative_within interval,
    without_negative text COLLATE "C" NOT NULL,
    fever_tenths smallint NOT NULL,
    with_fever text COLLATE "C" NOT NULL,
    unknown_person text COLLATE "C" NOT NULL,
    medical boolean NOT NULL,
    outcomes bytea NOT NULL,
    receipt_seconds integer NOT NULL,
    slug text COLLATE "C",
    upstream_url text,
    closed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT point_outcomes CHECK (octet_length(outcomes) = 16),
    CONSTRAINT point_receipt CHECK (receipt_seconds BETWEEN 1 AND 43200),
    CONSTRAINT point_protects CHECK (slug IS NOT NULL OR upstream_url IS NULL)
);
CREATE INDEX points_region_seq_idx ON gateway.points (region, seq);
CREATE UNIQUE INDEX slug_taken ON gateway.points (slug) WHERE closed_at IS NULL;
ALTER TABLE gateway.points ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON gateway.points TO fangxian_gateway_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.points TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.points TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
GRANT SELECT (id, region, outcomes, negative_within, fever_tenths, receipt_seconds, closed_at) ON gateway.points
    TO fangxian_gateway_door;
CREATE POLICY door ON gateway.points FOR SELECT TO fangxian_gateway_door USING (true);
-- Residents read the names of the places they visited.
GRANT SELECT (id, name) ON gateway.points TO fangxian_gateway_resident;
CREATE POLICY resident ON gateway.points FOR SELECT TO fangxian_gateway_resident USING (true);

CREATE TABLE gateway.visits (
    scan_id uuid NOT NULL,
    at timestamptz NOT NULL,
    point_id uuid NOT NULL,
    resident_id uuid NOT NULL,
    shown_by uuid,
    region text COLLATE "C" NOT NULL,
    colour smallint NOT NULL,
    outcome smallint NOT NULL,
    temperature_tenths smallint,
    receipt_seconds integer NOT NULL,
    decided_at timestamptz NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (at, scan_id)
) PARTITION BY RANGE (at);
CREATE INDEX visits_resident_id_at_idx ON gateway.visits (resident_id, at);
CREATE INDEX visits_region_at_idx ON gateway.visits (region, at);
CREATE INDEX visits_epoch_xid_idx ON gateway.visits (epoch, xid);
ALTER TABLE gateway.visits ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON gateway.visits TO fangxian_gateway_staff, fangxian_gateway_resident;
GRANT SELECT, DELETE ON gateway.visits TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.visits TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY resident_in_scope ON gateway.visits TO fangxian_gateway_resident
    USING (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]))
    WITH CHECK (resident_id = ANY ((SELECT current_setting('scope.residents'))::uuid[]));
-- The place of a visit in the order of commits is not among what a door writes, because the database sets it.
GRANT INSERT (
    scan_id, at, point_id, resident_id, shown_by, region, colour, outcome, temperature_tenths, receipt_seconds,
    decided_at
)
    ON gateway.visits TO fangxian_gateway_door;
GRANT SELECT (scan_id, at, point_id, resident_id, colour, outcome, receipt_seconds, decided_at) ON gateway.visits
    TO fangxian_gateway_door;
CREATE POLICY door ON gateway.visits FOR SELECT TO fangxian_gateway_door USING (true);
CREATE POLICY door_writes ON gateway.visits FOR INSERT TO fangxian_gateway_door WITH CHECK (true);

-- The epoch of a visit is a default of the column, so that a door need not ask for it. `fangxian migrate` sets it when
-- an epoch begins, before any service can write in the epoch.
CREATE FUNCTION gateway.begin_epoch_of_visits() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_is integer := (SELECT max(epoch) FROM gateway.feed_epochs);
BEGIN
    IF now_is::text IS DISTINCT FROM (
        SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        WHERE adrelid = 'gateway.visits'::regclass AND attname = 'epoch'
    ) THEN
        EXECUTE format('ALTER TABLE gateway.visits ALTER COLUMN epoch SET DEFAULT %s', now_is);
    END IF;
END $$;
REVOKE ALL ON FUNCTION gateway.begin_epoch_of_visits FROM PUBLIC;


-- Chained visits ------------------------------------------------------------------------------------------------------
--
-- Visits are chained in the order of their commits, in batches. The gateway's audit has an entry for each batch.

CREATE TABLE gateway.visit_seals (
    number bigint PRIMARY KEY,
    after_epoch integer NOT NULL,
    after_xid xid8 NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL,
    last_at timestamptz NOT NULL,
    leaves bytea NOT NULL
);
ALTER TABLE gateway.visit_seals ALTER COLUMN leaves SET STORAGE EXTERNAL;
COMMENT ON TABLE gateway.visit_seals
    IS 'The hashes of each batch of visits, while any visit of it is kept. The seal of a batch is in the audit.';
COMMENT ON COLUMN gateway.visit_seals.leaves IS 'For each visit in order, 32 bytes of hash and 8 of its time.';
GRANT SELECT, INSERT ON gateway.visit_seals TO fangxian_gateway_sealer;

CREATE TABLE gateway.visits_sealed (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    number bigint NOT NULL,
    epoch integer NOT NULL,
    xid xid8 NOT NULL
);
COMMENT ON TABLE gateway.visits_sealed
    IS 'How far the sealer of visits has come: every visit up to there is in a batch.';
GRANT SELECT, INSERT, UPDATE ON gateway.visits_sealed TO fangxian_gateway_sealer;

GRANT SELECT ON gateway.visits TO fangxian_gateway_sealer;
CREATE POLICY sealed ON gateway.visits FOR SELECT TO fangxian_gateway_sealer USING (true);
GRANT INSERT (epoch, kind, operation, target, actor, role, party, scope, purpose, reason, request_id, subjects)
    ON gateway.audit TO fangxian_gateway_sealer;


-- Messages ------------------------------------------------------------------------------------------------------------
--
-- Who may post messages, and what they posted.

CREATE TABLE gateway.hook_sources (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    party text NOT NULL,
    secrets_sealed bytea,
    last_message_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT hook_source_taken UNIQUE (source, party),
    CONSTRAINT hook_source_kind CHECK (source IN ('desk_120', 'hospital', 'municipal'))
);
CREATE INDEX hook_sources_region_seq_idx ON gateway.hook_sources (region, seq);
ALTER TABLE gateway.hook_sources ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.hook_sources TO fangxian_gateway_staff, fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.hook_sources TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE gateway.messages (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    party text NOT NULL,
    message_id text NOT NULL,
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    data jsonb NOT NULL,
    rest_sealed bytea,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_id_reused UNIQUE (source, party, message_id)
);
CREATE INDEX messages_region_seq_idx ON gateway.messages (region, seq);
COMMENT ON COLUMN gateway.messages.data IS 'What other services receive: known texts and small numbers.';
COMMENT ON COLUMN gateway.messages.rest_sealed IS 'All other fields of its data, which may name people.';
ALTER TABLE gateway.messages ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON gateway.messages TO fangxian_gateway_staff, fangxian_gateway_machine;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.messages TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.messages TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON gateway.messages TO fangxian_gateway_machine
    USING (party = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (party = (SELECT nullif(current_setting('scope.party'), '')));


-- Webhooks ------------------------------------------------------------------------------------------------------------
--
-- Where events are sent, how far each endpoint has read, and what was sent.

CREATE TABLE gateway.installation (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO gateway.installation DEFAULT VALUES;
COMMENT ON TABLE gateway.installation
    IS 'The id by which events name this installation where it has no public address.';
GRANT SELECT ON gateway.installation TO fangxian_gateway_system;

CREATE TABLE gateway.webhook_endpoints (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    url text NOT NULL,
    types text[] NOT NULL,
    party text NOT NULL,
    owner text NOT NULL,
    secrets_sealed bytea,
    state text COLLATE "C" NOT NULL,
    disabled_reason text COLLATE "C",
    failures bigint NOT NULL,
    failing_since timestamptz,
    next_attempt_at timestamptz,
    last_success_at timestamptz,
    last_error text,
    gap_at timestamptz,
    lease uuid,
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_state CHECK (state IN ('enabled', 'disabled')),
    CONSTRAINT webhook_disabled_reason CHECK ((disabled_reason IS NOT NULL) = (state = 'disabled'))
);
COMMENT ON COLUMN gateway.webhook_endpoints.owner
    IS 'Who made or enabled it last. It is sent only what this person can see.';
CREATE INDEX webhook_endpoints_region_seq_idx ON gateway.webhook_endpoints (region, seq);
ALTER TABLE gateway.webhook_endpoints ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.webhook_endpoints
    TO fangxian_gateway_staff, fangxian_gateway_system, fangxian_gateway_machine;
CREATE POLICY region_in_scope ON gateway.webhook_endpoints TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON gateway.webhook_endpoints TO fangxian_gateway_machine
    USING (party = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (party = (SELECT nullif(current_setting('scope.party'), '')));
-- Without this a machine could write an endpoint outside of its region, because policies are joined by OR.
CREATE POLICY machine_region_in_scope ON gateway.webhook_endpoints AS RESTRICTIVE TO fangxian_gateway_machine
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE gateway.webhook_cursors (
    endpoint_id uuid NOT NULL CONSTRAINT webhook_cursors_endpoint_id_fkey
        REFERENCES gateway.webhook_endpoints (id) ON DELETE CASCADE,
    owner text NOT NULL,
    lane text NOT NULL,
    cursor text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (endpoint_id, owner, lane)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.webhook_cursors TO fangxian_gateway_system;
GRANT INSERT ON gateway.webhook_cursors TO fangxian_gateway_staff, fangxian_gateway_machine;

CREATE TABLE gateway.webhook_deliveries (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    endpoint_id uuid NOT NULL CONSTRAINT webhook_deliveries_endpoint_id_fkey
        REFERENCES gateway.webhook_endpoints (id) ON DELETE CASCADE,
    party text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    subject uuid NOT NULL,
    event_version bigint NOT NULL,
    body text NOT NULL,
    state text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    last_status bigint,
    last_error text,
    next_attempt_at timestamptz,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_delivery_twice UNIQUE (endpoint_id, event_id),
    CONSTRAINT webhook_delivery_state CHECK (state IN ('delivered', 'parked', 'dead'))
);
CREATE INDEX webhook_deliveries_region_seq_idx ON gateway.webhook_deliveries (region, seq);
CREATE INDEX webhook_deliveries_list_idx ON gateway.webhook_deliveries (endpoint_id, region, seq);
CREATE INDEX webhook_deliveries_parked_idx ON gateway.webhook_deliveries (endpoint_id, subject, next_attempt_at)
    WHERE state = 'parked';
CREATE INDEX webhook_deliveries_created_at_idx ON gateway.webhook_deliveries (created_at);
ALTER TABLE gateway.webhook_deliveries ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE ON gateway.webhook_deliveries TO fangxian_gateway_staff, fangxian_gateway_machine;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.webhook_deliveries TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.webhook_deliveries TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
CREATE POLICY party_in_scope ON gateway.webhook_deliveries TO fangxian_gateway_machine
    USING (party = (SELECT nullif(current_setting('scope.party'), '')))
    WITH CHECK (party = (SELECT nullif(current_setting('scope.party'), '')));

-- A new endpoint begins where the gateway itself has read to. Cursors hold nobody's data.
GRANT SELECT ON gateway.feed_cursors TO fangxian_gateway_staff, fangxian_gateway_machine;


-- Accounts ------------------------------------------------------------------------------------------------------------
--
-- People who sign in, and how they prove who they are.

CREATE TABLE gateway.accounts (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'active',
    login text COLLATE "C",
    name_sealed bytea,
    phone_sealed bytea,
    phone_index bytea,
    open_id_index bytea,
    resident_id uuid,
    password_hash text,
    authenticator_sealed bytea,
    authenticator_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT login_taken UNIQUE (login),
    CONSTRAINT phone_taken UNIQUE (phone_index),
    CONSTRAINT open_id_taken UNIQUE (open_id_index),
    CONSTRAINT resident_bound UNIQUE (resident_id),
    CONSTRAINT account_kind CHECK (kind IN ('staff', 'resident')),
    CONSTRAINT account_state CHECK (state IN ('active', 'closed')),
    CONSTRAINT account_login CHECK ((kind = 'staff') = (login IS NOT NULL)),
    CONSTRAINT account_phone CHECK ((phone_sealed IS NULL) = (phone_index IS NULL)),
    CONSTRAINT account_resident CHECK (kind = 'resident' OR resident_id IS NULL)
);
CREATE INDEX accounts_region_seq_idx ON gateway.accounts (region, seq);
COMMENT ON COLUMN gateway.accounts.open_id_index IS 'Blind index of the mini-program''s id of the person.';
COMMENT ON COLUMN gateway.accounts.resident_id IS 'The resident this account belongs to, by evidence.';
ALTER TABLE gateway.accounts ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON gateway.accounts TO fangxian_gateway_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.accounts TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.accounts TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE gateway.recovery_codes (
    account_id uuid NOT NULL
        CONSTRAINT recovery_codes_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    hash bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (account_id, hash)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.recovery_codes TO fangxian_gateway_system;

CREATE TABLE gateway.links (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    account_id uuid CONSTRAINT links_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX links_account_id_idx ON gateway.links (account_id);
COMMENT ON COLUMN gateway.links.account_id IS 'Null: the link of the first administrator.';
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.links TO fangxian_gateway_system;
GRANT INSERT ON gateway.links TO fangxian_gateway_staff;

CREATE TABLE gateway.attempts (
    lane bytea PRIMARY KEY,
    count bigint NOT NULL,
    since timestamptz NOT NULL
);
CREATE INDEX attempts_since_idx ON gateway.attempts (since);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.attempts TO fangxian_gateway_system;

CREATE TABLE gateway.devices (
    account_id uuid NOT NULL CONSTRAINT devices_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    hash bytea NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, hash)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.devices TO fangxian_gateway_system;

CREATE TABLE gateway.phone_codes (
    id uuid PRIMARY KEY,
    phone_index bytea NOT NULL UNIQUE,
    code_sealed bytea NOT NULL,
    digits bigint NOT NULL,
    sent_at timestamptz NOT NULL,
    sends bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    guesses bigint NOT NULL DEFAULT 0,
    longer_since timestamptz
);
CREATE INDEX phone_codes_expires_at_idx ON gateway.phone_codes (expires_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.phone_codes TO fangxian_gateway_system;

CREATE TABLE gateway.challenges (
    id uuid PRIMARY KEY,
    secret bytea NOT NULL,
    phone_index bytea NOT NULL,
    phone_sealed bytea NOT NULL,
    tries bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);
CREATE INDEX challenges_expires_at_idx ON gateway.challenges (expires_at);
COMMENT ON COLUMN gateway.challenges.secret IS 'Hash of a secret that only the caller knows.';
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.challenges TO fangxian_gateway_system;


-- Grants --------------------------------------------------------------------------------------------------------------
--
-- Who may act in which role, where and until when.

CREATE TABLE gateway.grants (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL CONSTRAINT grants_account_id_fkey REFERENCES gateway.accounts (id),
    role text COLLATE "C" NOT NULL,
    party text NOT NULL DEFAULT '',
    valid_from timestamptz NOT NULL,
    valid_until timestamptz,
    why text NOT NULL,
    state text COLLATE "C" NOT NULL,
    given_by text NOT NULL,
    decided_by text,
    ended_by text,
    ended_why text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT grant_state CHECK (state IN ('proposed', 'active', 'refused', 'ended')),
    CONSTRAINT grant_order CHECK (valid_until IS NULL OR valid_from < valid_until),
    CONSTRAINT grant_two_people CHECK (decided_by IS DISTINCT FROM given_by)
);
CREATE INDEX grants_region_seq_idx ON gateway.grants (region, seq);
CREATE INDEX grants_account_id_idx ON gateway.grants (account_id);
CREATE UNIQUE INDEX grant_exists ON gateway.grants (account_id, role, region, party)
    WHERE state IN ('proposed', 'active');
ALTER TABLE gateway.grants ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON gateway.grants TO fangxian_gateway_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.grants TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.grants TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));


-- Issuer --------------------------------------------------------------------------------------------------------------
--
-- Clients, sign-ins in progress, sessions and their tokens.

CREATE TABLE gateway.clients (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text NOT NULL,
    people text COLLATE "C" NOT NULL DEFAULT 'everyone',
    redirect_uris jsonb NOT NULL,
    role text COLLATE "C",
    party text NOT NULL,
    secrets jsonb NOT NULL,
    public_keys jsonb NOT NULL,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT client_taken UNIQUE (client_id),
    CONSTRAINT client_kind CHECK (kind IN ('app', 'machine')),
    CONSTRAINT client_people CHECK (people IN ('everyone', 'staff', 'residents')),
    CONSTRAINT client_role CHECK ((kind = 'machine') = (role IS NOT NULL))
);
CREATE INDEX clients_region_seq_idx ON gateway.clients (region, seq);
ALTER TABLE gateway.clients ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON gateway.clients TO fangxian_gateway_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.clients TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.clients TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE gateway.assertions (
    hash bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX assertions_expires_at_idx ON gateway.assertions (expires_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.assertions TO fangxian_gateway_system;

CREATE TABLE gateway.interactions (
    id uuid PRIMARY KEY,
    browser bytea NOT NULL,
    asked jsonb NOT NULL,
    stage text COLLATE "C" NOT NULL DEFAULT 'start',
    account_id uuid CONSTRAINT interactions_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    challenge_id uuid,
    authenticator_sealed bytea,
    amr text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz NOT NULL,
    CONSTRAINT interaction_stage CHECK (stage IN ('start', 'phone', 'authenticator', 'enrol', 'grant', 'done'))
);
CREATE INDEX interactions_account_id_idx ON gateway.interactions (account_id);
CREATE INDEX interactions_expires_at_idx ON gateway.interactions (expires_at);
COMMENT ON COLUMN gateway.interactions.browser IS 'Hash of the cookie of the browser it began in.';
COMMENT ON COLUMN gateway.interactions.asked IS 'The authorization request, checked.';
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.interactions TO fangxian_gateway_system;

CREATE TABLE gateway.sessions (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL CONSTRAINT sessions_account_id_fkey REFERENCES gateway.accounts (id),
    grant_id uuid CONSTRAINT sessions_grant_id_fkey REFERENCES gateway.grants (id),
    client_id text NOT NULL,
    amr text[] NOT NULL,
    agent text NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_why text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_region_seq_idx ON gateway.sessions (region, seq);
CREATE INDEX sessions_account_id_idx ON gateway.sessions (account_id);
CREATE INDEX sessions_grant_id_idx ON gateway.sessions (grant_id);
ALTER TABLE gateway.sessions ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE ON gateway.sessions TO fangxian_gateway_staff;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.sessions TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.sessions TO fangxian_gateway_staff, fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));

CREATE TABLE gateway.authorization_codes (
    hash bytea PRIMARY KEY,
    asked jsonb NOT NULL,
    account_id uuid NOT NULL
        CONSTRAINT authorization_codes_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    grant_id uuid,
    amr text[] NOT NULL,
    agent text NOT NULL,
    proved_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    session_id uuid
);
CREATE INDEX authorization_codes_account_id_idx ON gateway.authorization_codes (account_id);
CREATE INDEX authorization_codes_expires_at_idx ON gateway.authorization_codes (expires_at);
COMMENT ON COLUMN gateway.authorization_codes.session_id IS 'The session it was exchanged for.';
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.authorization_codes TO fangxian_gateway_system;

CREATE TABLE gateway.refresh_tokens (
    hash bytea PRIMARY KEY,
    session_id uuid NOT NULL
        CONSTRAINT refresh_tokens_session_id_fkey REFERENCES gateway.sessions (id) ON DELETE CASCADE,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_session_id_idx ON gateway.refresh_tokens (session_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.refresh_tokens TO fangxian_gateway_system;

CREATE TABLE gateway.device_authorizations (
    hash bytea PRIMARY KEY,
    user_code bytea NOT NULL UNIQUE,
    client_id text NOT NULL,
    network text NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'open',
    account_id uuid
        CONSTRAINT device_authorizations_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    grant_id uuid,
    amr text[] NOT NULL DEFAULT '{}',
    wait_seconds bigint NOT NULL,
    asked_at timestamptz,
    begun_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT device_authorization_state CHECK (state IN ('open', 'approved', 'refused')),
    CONSTRAINT device_authorization_account CHECK ((state = 'approved') = (account_id IS NOT NULL))
);
CREATE INDEX device_authorizations_account_id_idx ON gateway.device_authorizations (account_id);
CREATE INDEX device_authorizations_expires_at_idx ON gateway.device_authorizations (expires_at);
COMMENT ON COLUMN gateway.device_authorizations.hash IS 'Hash of the device code.';
COMMENT ON COLUMN gateway.device_authorizations.user_code IS 'Hash of the code that the person types.';
COMMENT ON COLUMN gateway.device_authorizations.network IS 'The network of the device, to show it to the person.';
COMMENT ON COLUMN gateway.device_authorizations.wait_seconds IS 'How long the device waits between two requests.';
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.device_authorizations TO fangxian_gateway_system;

CREATE TABLE gateway.endings (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL
);
CREATE INDEX endings_at_idx ON gateway.endings (at);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.endings TO fangxian_gateway_system;
GRANT INSERT, UPDATE, SELECT ON gateway.endings TO fangxian_gateway_staff;

CREATE TABLE gateway.issuer_keys (
    id uuid PRIMARY KEY,
    private_sealed bytea NOT NULL,
    made_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.issuer_keys TO fangxian_gateway_system;


-- Parties -------------------------------------------------------------------------------------------------------------
--
-- The organisations that machines act for. Machines are registered by the API and by an operator's commands, so
-- triggers keep the table.

CREATE TABLE gateway.parties (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    version bigint NOT NULL DEFAULT 1,
    region text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    party text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parties_role_party_key UNIQUE (role, party),
    CONSTRAINT party_state CHECK (state IN ('active', 'ended'))
);
CREATE INDEX parties_region_seq_idx ON gateway.parties (region, seq);
ALTER TABLE gateway.parties ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON gateway.parties TO fangxian_gateway_system;
CREATE POLICY region_in_scope ON gateway.parties TO fangxian_gateway_system
    USING (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')))
    WITH CHECK (region >= (SELECT current_setting('scope.low')) AND region < (SELECT current_setting('scope.high')));
-- Staff of every region see which laboratories and hospitals there are.
GRANT SELECT ON gateway.parties TO fangxian_gateway_staff;
CREATE POLICY public_data ON gateway.parties FOR SELECT TO fangxian_gateway_staff USING (true);

-- Without the lock the last two clients of a party could end at once, and each would see the other as active.
CREATE FUNCTION gateway.follow_party(asked_role text, asked_party text, asked_region text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_active boolean;
    changed gateway.parties%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('gateway.parties ' || asked_role || ' ' || asked_party));
    is_active := EXISTS (
        SELECT FROM gateway.clients WHERE role = asked_role AND party = asked_party AND revoked_at IS NULL
    ) OR EXISTS (
        SELECT FROM gateway.hook_sources WHERE source = asked_role AND party = asked_party
    );
    INSERT INTO gateway.parties AS held (id, region, role, party, state)
    VALUES (
        uuidv7(), asked_region, asked_role, asked_party, CASE WHEN is_active THEN 'active' ELSE 'ended' END
    )
    ON CONFLICT (role, party) DO UPDATE
        SET state = excluded.state, version = held.version + 1, updated_at = now()
        WHERE held.state <> excluded.state
    RETURNING * INTO changed;
    IF changed.id IS NOT NULL THEN
        INSERT INTO gateway.feed (epoch, type, subject, version, region, change, urgent, data)
        SELECT max(epoch), 'gateway.party.v1', changed.id, changed.version, changed.region,
            CASE WHEN is_active THEN 'registered' ELSE 'ended' END, false,
            json_build_object(
                'id', changed.id, 'version', changed.version, 'region', changed.region, 'role', changed.role,
                'party', changed.party, 'state', changed.state
            )
        FROM gateway.feed_epochs;
    END IF;
END $$;

CREATE FUNCTION gateway.follow_client() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    client record := coalesce(new, old);
BEGIN
    IF client.role IN ('laboratory', 'desk_120', 'hospital', 'municipal') THEN
        PERFORM gateway.follow_party(client.role, client.party, client.region);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION gateway.follow_hook_source() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source record := coalesce(new, old);
BEGIN
    PERFORM gateway.follow_party(source.source, source.party, source.region);
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION gateway.follow_party, gateway.follow_client, gateway.follow_hook_source FROM PUBLIC;

CREATE TRIGGER follow_client AFTER INSERT OR DELETE OR UPDATE OF revoked_at ON gateway.clients
    FOR EACH ROW EXECUTE FUNCTION gateway.follow_client();
CREATE TRIGGER follow_hook_source AFTER INSERT OR DELETE ON gateway.hook_sources
    FOR EACH ROW EXECUTE FUNCTION gateway.follow_hook_source();


-- Guardianships -------------------------------------------------------------------------------------------------------
--
-- For whom a resident's token acts besides the resident.

CREATE TABLE gateway.guardianships (
    id uuid PRIMARY KEY,
    guardian_id uuid NOT NULL,
    dependant_id uuid NOT NULL
);
CREATE INDEX guardianships_guardian_id_idx ON gateway.guardianships (guardian_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.guardianships TO fangxian_gateway_system;


-- Retention -----------------------------------------------------------------------------------------------------------

INSERT INTO gateway.retention_periods (kind, days, source) VALUES
    ('visits', 28, 'local decision: two incubation periods of 14 days; where somebody was is kept no longer'),
    ('code_changes', 365, 'local decision: a year, for an appeal'),
    ('messages', 180, 'local decision: as long as a sender may ask what became of one');

-- Drops days of visits that are empty, and the hashes of batches of which no visit is left. A batch is kept whole until
-- its last visit is gone, so that visits which a hold keeps can still be checked. A door waits for this for a fifth of
-- a second at most; then nothing is dropped, and the next purge tries again.
CREATE FUNCTION gateway.drop_empty_visits(before timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'Asia/Shanghai' SET lock_timeout = '200ms' AS $$
DECLARE
    child regclass;
    is_empty boolean;
BEGIN
    DELETE FROM gateway.visit_seals WHERE number IN (
        SELECT number FROM gateway.visit_seals AS seal
        WHERE last_at < before AND NOT EXISTS (
            SELECT FROM gateway.visits
            WHERE (epoch, xid) > (seal.after_epoch, seal.after_xid) AND (epoch, xid) <= (seal.epoch, seal.xid)
        )
        ORDER BY number LIMIT 10000
    );
    FOR child IN
        SELECT one.oid FROM pg_class AS one JOIN pg_inherits ON inhrelid = one.oid
        WHERE inhparent = 'gateway.visits'::regclass AND one.relname ~ '^visits_[0-9]{8}$'
          AND to_date(right(one.relname, 8), 'YYYYMMDD') < before::date
        ORDER BY one.relname
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', child) INTO is_empty;
        IF is_empty THEN
            EXECUTE format('DROP TABLE %s', child);
        END IF;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $$;
REVOKE ALL ON FUNCTION gateway.drop_empty_visits FROM PUBLIC;

CREATE FUNCTION gateway.purge_visits(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gateway, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('visits');
    removed bigint;
BEGIN
    DELETE FROM visits WHERE (at, scan_id) IN (
        SELECT at, scan_id FROM visits WHERE at < before AND NOT is_held(resident_id) LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed < most THEN
        PERFORM drop_empty_visits(before);
    END IF;
    PERFORM count_purged('visits', removed);
    RETURN removed;
END $$;

CREATE FUNCTION gateway.purge_code_changes(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gateway, pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := retention_cutoff('code_changes');
    removed bigint;
BEGIN
    DELETE FROM code_changes WHERE number IN (
        SELECT number FROM code_changes WHERE at < before AND NOT is_held(resident_id)
        ORDER BY number LIMIT most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM count_purged('code_changes', removed);
    RETURN removed;
END $$;

CREATE FUNCTION gateway.purge_messages(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gateway, pg_catalog, pg_temp AS $$
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
REVOKE ALL ON FUNCTION gateway.purge_visits, gateway.purge_code_changes, gateway.purge_messages FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    gateway.purge_visits, gateway.purge_code_changes, gateway.purge_messages
    TO fangxian_gateway_system;


-- End of the emergency ------------------------------------------------------------------------------------------------
--
-- Two people declare it here, and all services follow.

GRANT INSERT (declared_on, decree, proposal_id, approved_at) ON gateway.sunset TO fangxian_gateway_staff;
