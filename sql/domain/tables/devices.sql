-- Which device of which gateway is which meter, and when. Infinite ends are written out, so that upper(valid) compares.

CREATE TABLE IF NOT EXISTS devices (
    device_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    device text NOT NULL CHECK (device ~ '^[A-Za-z0-9._-]+(/[0-9]+)?$' AND length(device) <= 96),
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    interval_ms integer NOT NULL CHECK (interval_ms > 0),
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT devices_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT devices_one_meter_per_device EXCLUDE USING gist (gateway_id WITH =, device WITH =, valid WITH &&),
    CONSTRAINT devices_one_device_per_meter EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
COMMENT ON TABLE devices IS 'Which device of which gateway is which meter (effective-dated)';
COMMENT ON COLUMN devices.device_id IS 'Row key';
COMMENT ON COLUMN devices.gateway_id IS 'The gateway that reads the device';
COMMENT ON COLUMN devices.device IS 'The gateway''s name of the device, name/n for channel n of a device with several meters in it';
COMMENT ON COLUMN devices.meter_id IS 'The meter it is';
COMMENT ON COLUMN devices.interval_ms IS 'Expected time between two readings, milliseconds';
COMMENT ON COLUMN devices.valid IS 'The span of reading times for which the row holds, half-open';
COMMENT ON COLUMN devices.created_at IS 'When the row was made';
COMMENT ON COLUMN devices.updated_at IS 'When the row changed last';
COMMENT ON INDEX devices_one_meter_per_device IS 'A device is one meter at a time';
COMMENT ON INDEX devices_one_device_per_meter IS 'A meter is read by one device at a time';
CREATE OR REPLACE TRIGGER devices_touch BEFORE UPDATE ON devices FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER devices_audit AFTER INSERT OR UPDATE OR DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION audit_change('device_id');
GRANT SELECT, INSERT, UPDATE ON devices TO segs_api;
GRANT SELECT ON devices TO segs_worker, segs_readonly;
