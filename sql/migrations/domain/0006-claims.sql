-- Meters are claimed by codes.

CREATE TABLE meter_claims (
    meter_claim_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE CASCADE,
    code_hash bytea NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    issued_by integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz CHECK (used_at >= created_at),
    used_by integer REFERENCES users ON DELETE RESTRICT,
    revoked_at timestamptz CHECK (revoked_at >= created_at),
    CONSTRAINT meter_claims_live_at_most_90_days
        CHECK (expires_at > created_at AND expires_at <= created_at + INTERVAL '90 days'),
    CONSTRAINT meter_claims_used_by_somebody CHECK ((used_at IS NULL) = (used_by IS NULL)),
    CONSTRAINT meter_claims_used_or_revoked CHECK (used_at IS NULL OR revoked_at IS NULL)
);
CREATE UNIQUE INDEX meter_claims_open_idx ON meter_claims (meter_id) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX meter_claims_meter_idx ON meter_claims (meter_id, meter_claim_id);

GRANT USAGE ON SEQUENCE meters_meter_id_seq TO segs_api;

ALTER TABLE meter_claims ENABLE ROW LEVEL SECURITY;

-- It takes the region that looks after the gateway as well.
DROP FUNCTION IF EXISTS gateway_add(text, bytea, timestamptz);
