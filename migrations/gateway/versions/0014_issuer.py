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


def upgrade() -> None:
    run_script(TABLES)
    protect("gateway", "clients", staff="SELECT, INSERT, UPDATE")
    protect("gateway", "sessions", staff="SELECT, UPDATE")
    for table in OF_THE_SYSTEM:
        allow("gateway", table, "SELECT, INSERT, UPDATE, DELETE", "system")
    allow("gateway", "endings", "INSERT, UPDATE, SELECT", "staff")


def downgrade() -> None:
    for table in (*OF_THE_SYSTEM, "sessions", "clients"):
        op.execute(f"DROP TABLE gateway.{table}")
