"""Residents with their history, requests to register somebody, transfers, and who saw whom in clear (R2, R3).

A resident's document is indexed under the keys of the two columns by turns. While both are in use whoever registers
somebody writes both, so that uniqueness holds between those who know the new key already and those who do not.
"""

from alembic import op

from migrations.house import run_script
from migrations.roles import IN_RANGE, allow, protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
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
COMMENT ON COLUMN registry.residents.document_index_b IS 'The same under the index key of the other turn.';
COMMENT ON COLUMN registry.residents.known_at
    IS 'Of when the newest of what is known is: of the change by hand, or of the date of the file.';
COMMENT ON COLUMN registry.residents.by_hand IS 'Whether the newest of what is known was entered by hand.';
COMMENT ON COLUMN registry.residents.since IS 'Since when what population counts look at is as it is.';

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
    IS 'What a resident was counted as, from since until until: yesterday''s count can be made again.';

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
    IS 'Never told to who asked: it says that the person lives elsewhere.';

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
    IS 'Where it is decided: a claim where the person lives, an offer where they go.';

CREATE TABLE registry.reveals (
    actor text PRIMARY KEY,
    times timestamptz[] NOT NULL
);
COMMENT ON TABLE registry.reveals IS 'When each of the staff saw somebody in clear within the last hour.';
"""


def upgrade() -> None:
    run_script(TABLES)
    protect(
        "registry",
        "residents",
        staff="SELECT, INSERT, UPDATE",
        resident="SELECT",
        resident_column="id",
        system="SELECT, INSERT, UPDATE",
    )
    protect("registry", "resident_history", staff="SELECT, INSERT", system="SELECT, INSERT")
    protect("registry", "registrations", staff="SELECT, INSERT", system="SELECT, INSERT, UPDATE")
    protect("registry", "transfers", staff="SELECT, INSERT, UPDATE", system="SELECT, INSERT, UPDATE")
    allow("registry", "reveals", "SELECT, INSERT, UPDATE", "staff")
    op.execute("GRANT UPDATE (erasure_asked_at) ON registry.residents TO fangxian_registry_resident")
    # Who offers a person sees what becomes of it, but only where the person goes can it be accepted.
    offered = IN_RANGE.replace("region", "from_region")
    op.execute(
        f"CREATE POLICY staff_offers ON registry.transfers FOR INSERT TO fangxian_registry_staff WITH CHECK ({offered})"
    )
    op.execute(
        f"CREATE POLICY staff_offered ON registry.transfers FOR SELECT TO fangxian_registry_staff USING ({offered})"
    )


def downgrade() -> None:
    for table in ("reveals", "transfers", "registrations", "resident_history", "residents"):
        op.execute(f"DROP TABLE registry.{table}")
