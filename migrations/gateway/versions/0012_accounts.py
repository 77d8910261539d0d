"""People who sign in, and how they prove it (G1)."""

from alembic import op

from migrations.house import run_script
from migrations.roles import allow, protect

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = """
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
COMMENT ON COLUMN gateway.accounts.open_id_index IS 'Blind index of a mini-program''s name for the person.';
COMMENT ON COLUMN gateway.accounts.resident_id IS 'The one resident this account is, by evidence.';

CREATE TABLE gateway.recovery_codes (
    account_id uuid NOT NULL
        CONSTRAINT recovery_codes_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    hash bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (account_id, hash)
);

CREATE TABLE gateway.links (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    account_id uuid CONSTRAINT links_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX links_account_id_idx ON gateway.links (account_id);
COMMENT ON COLUMN gateway.links.account_id IS 'None: the first administrator.';

CREATE TABLE gateway.attempts (
    lane bytea PRIMARY KEY,
    count bigint NOT NULL,
    since timestamptz NOT NULL
);
CREATE INDEX attempts_since_idx ON gateway.attempts (since);

CREATE TABLE gateway.devices (
    account_id uuid NOT NULL CONSTRAINT devices_account_id_fkey REFERENCES gateway.accounts (id) ON DELETE CASCADE,
    hash bytea NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, hash)
);

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

CREATE TABLE gateway.challenges (
    id uuid PRIMARY KEY,
    secret bytea NOT NULL,
    phone_index bytea NOT NULL,
    phone_sealed bytea NOT NULL,
    tries bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);
CREATE INDEX challenges_expires_at_idx ON gateway.challenges (expires_at);
COMMENT ON COLUMN gateway.challenges.secret IS 'Hash of what only who asked knows.';
"""

OF_THE_SYSTEM = ("recovery_codes", "links", "attempts", "devices", "phone_codes", "challenges")


def upgrade() -> None:
    run_script(TABLES)
    protect("gateway", "accounts", staff="SELECT, INSERT, UPDATE")
    for table in OF_THE_SYSTEM:
        allow("gateway", table, "SELECT, INSERT, UPDATE, DELETE", "system")
    allow("gateway", "links", "INSERT", "staff")


def downgrade() -> None:
    for table in (*OF_THE_SYSTEM, "accounts"):
        op.execute(f"DROP TABLE gateway.{table}")
