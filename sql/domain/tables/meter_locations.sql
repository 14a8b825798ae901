-- Where a meter is, and when: the one place that says it. Infinite ends are written out, so that upper(valid) compares.

CREATE TABLE IF NOT EXISTS meter_locations (
    meter_location_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE CASCADE,
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    timezone text NOT NULL CONSTRAINT meter_locations_timezone_is_known CHECK (is_timezone(timezone)),
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_locations_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_locations_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS meter_locations_region_idx ON meter_locations (region, meter_id);
COMMENT ON TABLE meter_locations IS 'Region and zone of each meter (effective-dated): a move changes nothing of what was before';
COMMENT ON COLUMN meter_locations.meter_location_id IS 'Row key';
COMMENT ON COLUMN meter_locations.meter_id IS 'The meter';
COMMENT ON COLUMN meter_locations.region IS 'Region the meter counts in and is priced by';
COMMENT ON COLUMN meter_locations.timezone IS 'IANA zone: the meter''s days and billing periods are local to it';
COMMENT ON COLUMN meter_locations.valid IS 'When it is there, half-open';
COMMENT ON COLUMN meter_locations.created_at IS 'When the row was made';
COMMENT ON COLUMN meter_locations.updated_at IS 'When the row changed last';
COMMENT ON INDEX meter_locations_region_idx IS 'Meters of a region';
COMMENT ON INDEX meter_locations_one_at_a_time IS 'A meter is at one place at a time';
CREATE OR REPLACE TRIGGER meter_locations_touch BEFORE UPDATE ON meter_locations FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER meter_locations_audit AFTER INSERT OR UPDATE OR DELETE ON meter_locations
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_location_id');
GRANT SELECT, INSERT, UPDATE ON meter_locations TO segs_api;
GRANT SELECT ON meter_locations TO segs_worker, segs_readonly;
