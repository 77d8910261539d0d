"""Clients, sign-ins under way, sessions and what they were given (G1)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLES = """
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

CREATE TABLE gateway.assertions (
    hash bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX assertions_expires_at_idx ON gateway.assertions (expires_at);

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

CREATE TABLE gateway.refresh_tokens (
    hash bytea PRIMARY KEY,
    session_id uuid NOT NULL
        CONSTRAINT refresh_tokens_session_id_fkey REFERENCES gateway.sessions (id) ON DELETE CASCADE,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_session_id_idx ON gateway.refresh_tokens (session_id);

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
COMMENT ON COLUMN gateway.device_authorizations.user_code IS 'Hash of the code that a person types.';
COMMENT ON COLUMN gateway.device_authorizations.network IS 'Where the device asked from, to show it to the person.';
COMMENT ON COLUMN gateway.device_authorizations.wait_seconds IS 'Seconds the device waits between two questions.';

CREATE TABLE gateway.endings (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL
);
CREATE INDEX endings_at_idx ON gateway.endings (at);

CREATE TABLE gateway.issuer_keys (
    id uuid PRIMARY KEY,
    private_sealed bytea NOT NULL,
    made_at timestamptz NOT NULL
);
"""

OF_THE_SYSTEM = (
    "assertions",
    "interactions",
    "authorization_codes",
    "refresh_tokens",
    "device_authorizations",
    "endings",
    "issuer_keys",
)

PARTIES = """
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
"""

# Clients are registered by the API and by the operator's shell, so the database itself follows who is registered.
# The lock makes two at once wait for each other: else the last two of a party could end and leave it active.
FOLLOW_PARTIES = """
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
"""


def upgrade() -> None:
    run_script(TABLES)
    run_script(PARTIES)
    run_script(FOLLOW_PARTIES)
    protect("gateway", "parties", system="SELECT")
    # Which laboratories and hospitals there are, is known in every region.
    op.execute("GRANT SELECT ON gateway.parties TO fangxian_gateway_staff")
    op.execute("CREATE POLICY staff ON gateway.parties FOR SELECT TO fangxian_gateway_staff USING (true)")
    protect("gateway", "clients", staff="SELECT, INSERT, UPDATE")
    protect("gateway", "sessions", staff="SELECT, UPDATE")
    for table in OF_THE_SYSTEM:
        allow("gateway", table, "SELECT, INSERT, UPDATE, DELETE", "system")
    allow("gateway", "endings", "INSERT, UPDATE, SELECT", "staff")


def downgrade() -> None:
    op.execute("DROP TRIGGER follow_hook_source ON gateway.hook_sources")
    op.execute("DROP TRIGGER follow_client ON gateway.clients")
    op.execute("DROP FUNCTION gateway.follow_client, gateway.follow_hook_source, gateway.follow_party")
    op.execute("DROP TABLE gateway.parties")
    for table in (*OF_THE_SYSTEM, "sessions", "clients"):
        op.execute(f"DROP TABLE gateway.{table}")
