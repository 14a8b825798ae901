-- Gateways and the keys they deliver with. A key is rotated without a gap: add the new one, then revoke the old one.

CREATE TABLE IF NOT EXISTS gateways (
    gateway_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE gateways IS 'Gateways in the field that read devices and deliver batches';
COMMENT ON COLUMN gateways.gateway_id IS 'Row key';
COMMENT ON COLUMN gateways.name IS 'Name as in the gateway''s own configuration: letters, digits, dot, hyphen, underscore';
COMMENT ON COLUMN gateways.region IS 'Region whose operators look after it; NULL leaves it to admins and to operators of its meters';
COMMENT ON COLUMN gateways.disabled_at IS 'Since when nothing is accepted from it; NULL while it may deliver';
COMMENT ON COLUMN gateways.created_at IS 'When the row was made';
COMMENT ON COLUMN gateways.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER gateways_touch BEFORE UPDATE ON gateways FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER gateways_audit AFTER INSERT OR UPDATE OR DELETE ON gateways
    FOR EACH ROW EXECUTE FUNCTION audit_change('gateway_id');
GRANT SELECT, INSERT, UPDATE ON gateways TO segs_api;
GRANT SELECT ON gateways TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS gateway_keys (
    gateway_key_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    key_hash bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz CHECK (revoked_at >= created_at)
);
CREATE INDEX IF NOT EXISTS gateway_keys_valid_idx ON gateway_keys (gateway_id) WHERE revoked_at IS NULL;
COMMENT ON TABLE gateway_keys IS 'Keys of gateways; the key itself is shown once and kept nowhere';
COMMENT ON COLUMN gateway_keys.gateway_key_id IS 'Row key';
COMMENT ON COLUMN gateway_keys.gateway_id IS 'Gateway that may deliver with the key';
COMMENT ON COLUMN gateway_keys.key_hash IS 'SHA-256 of the whole key string, which holds 256 random bits';
COMMENT ON COLUMN gateway_keys.created_at IS 'When the key was made';
COMMENT ON COLUMN gateway_keys.revoked_at IS 'When it was revoked; NULL while it is valid';
COMMENT ON INDEX gateway_keys_valid_idx IS 'Valid keys of a gateway';
CREATE OR REPLACE TRIGGER gateway_keys_audit AFTER INSERT OR UPDATE OR DELETE ON gateway_keys
    FOR EACH ROW EXECUTE FUNCTION audit_change('gateway_key_id');
GRANT SELECT, INSERT, UPDATE ON gateway_keys TO segs_api;
GRANT SELECT ON gateway_keys TO segs_worker;
GRANT SELECT (gateway_key_id, gateway_id, created_at, revoked_at) ON gateway_keys TO segs_readonly;
