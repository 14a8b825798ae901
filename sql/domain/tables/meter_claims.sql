-- Codes by which customers take their meters. Rows end, they never go.

CREATE TABLE IF NOT EXISTS meter_claims (
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
CREATE UNIQUE INDEX IF NOT EXISTS meter_claims_open_idx ON meter_claims (meter_id) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS meter_claims_meter_idx ON meter_claims (meter_id, meter_claim_id);
COMMENT ON TABLE meter_claims IS 'Codes by which a customer takes a meter, once; made and used by functions alone';
COMMENT ON COLUMN meter_claims.meter_claim_id IS 'Row key';
COMMENT ON COLUMN meter_claims.meter_id IS 'The meter';
COMMENT ON COLUMN meter_claims.code_hash IS 'SHA-256 of the code, which is 80 random bits';
COMMENT ON COLUMN meter_claims.issued_by IS 'Operator or admin who had it made';
COMMENT ON COLUMN meter_claims.created_at IS 'When it was made';
COMMENT ON COLUMN meter_claims.expires_at IS 'Until when it is good, at most 90 days';
COMMENT ON COLUMN meter_claims.used_at IS 'When the meter was taken by it';
COMMENT ON COLUMN meter_claims.used_by IS 'Who took the meter';
COMMENT ON COLUMN meter_claims.revoked_at IS 'When it was withdrawn, or another took its place';
COMMENT ON INDEX meter_claims_open_idx IS 'A meter has one open code at a time';
COMMENT ON INDEX meter_claims_meter_idx IS 'Codes of a meter';
CREATE OR REPLACE TRIGGER meter_claims_audit AFTER INSERT OR UPDATE OR DELETE ON meter_claims
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_claim_id');
GRANT SELECT (meter_claim_id, meter_id, issued_by, created_at, expires_at, used_at, used_by, revoked_at) ON meter_claims
    TO segs_api, segs_worker, segs_readonly;
