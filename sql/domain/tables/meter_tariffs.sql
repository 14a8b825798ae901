-- By which tariff a meter is billed, and when. Infinite ends are written out, so that upper(valid) compares.

CREATE TABLE IF NOT EXISTS meter_tariffs (
    meter_tariff_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    code text NOT NULL,
    valid tstzrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_tariffs_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_tariffs_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS meter_tariffs_code_idx ON meter_tariffs (code, meter_id);
COMMENT ON TABLE meter_tariffs IS 'By which tariff each meter was, is and will be billed; which of the tariff''s price tables holds, their own spans say';
COMMENT ON COLUMN meter_tariffs.meter_tariff_id IS 'Row key';
COMMENT ON COLUMN meter_tariffs.meter_id IS 'The meter';
COMMENT ON COLUMN meter_tariffs.code IS 'Code of the tariff';
COMMENT ON COLUMN meter_tariffs.valid IS 'When, half-open';
COMMENT ON COLUMN meter_tariffs.created_at IS 'When the row was made';
COMMENT ON COLUMN meter_tariffs.updated_at IS 'When the row changed last';
COMMENT ON INDEX meter_tariffs_code_idx IS 'Meters of a tariff';
COMMENT ON INDEX meter_tariffs_one_at_a_time IS 'A meter has one tariff at a time';
CREATE OR REPLACE TRIGGER meter_tariffs_touch BEFORE UPDATE ON meter_tariffs FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER meter_tariffs_audit AFTER INSERT OR UPDATE OR DELETE ON meter_tariffs
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_tariff_id');
-- Written by functions alone, which know what was billed.
GRANT SELECT ON meter_tariffs TO segs_api, segs_worker, segs_readonly;
