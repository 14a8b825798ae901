CREATE TABLE IF NOT EXISTS meters (
    meter_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_code text NOT NULL UNIQUE
        GENERATED ALWAYS AS ('MTR-' || lpad(meter_id::text, greatest(8, length(meter_id::text)), '0')) STORED,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('registered', 'active', 'inactive', 'faulty', 'decommissioned')),
    model text CHECK (model <> ''),
    serial text CHECK (serial <> ''),
    site text CHECK (site <> ''),
    latitude_deg double precision CHECK (latitude_deg BETWEEN -90 AND 90),
    longitude_deg double precision CHECK (longitude_deg BETWEEN -180 AND 180),
    max_power_w double precision NOT NULL DEFAULT 1000000 CHECK (max_power_w > 0 AND max_power_w < 'infinity'),
    register_modulus_wh bigint CHECK (register_modulus_wh > 0),
    register_resets boolean NOT NULL DEFAULT false,
    nominal_voltage_v double precision NOT NULL DEFAULT 230 CHECK (nominal_voltage_v > 0 AND nominal_voltage_v < 'infinity'),
    phases smallint CHECK (phases BETWEEN 1 AND 7),
    rated_power_w double precision CHECK (rated_power_w > 0 AND rated_power_w < 'infinity'),
    exports boolean,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meters_location_has_both_coordinates CHECK ((latitude_deg IS NULL) = (longitude_deg IS NULL)),
    CONSTRAINT meters_serial_needs_model CHECK (serial IS NULL OR model IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS meters_model_serial_key ON meters (model, serial) WHERE serial IS NOT NULL;
CREATE INDEX IF NOT EXISTS meters_site_idx ON meters (site) WHERE site IS NOT NULL;
COMMENT ON TABLE meters IS 'Metering points: what is measured, whose it is; where is in meter_locations';
COMMENT ON COLUMN meters.meter_id IS 'Key in both databases';
COMMENT ON COLUMN meters.meter_code IS 'The key for people: MTR- and at least eight digits';
COMMENT ON COLUMN meters.status IS 'registered (never delivered), active, inactive, faulty or decommissioned';
COMMENT ON COLUMN meters.model IS 'Maker and model, the name of the gateway''s profile where there is one';
COMMENT ON COLUMN meters.serial IS 'Serial number on the meter''s plate';
COMMENT ON COLUMN meters.site IS 'Building or plant: meters of one site that go silent together are one alert';
COMMENT ON COLUMN meters.latitude_deg IS 'Latitude, degrees north, WGS 84';
COMMENT ON COLUMN meters.longitude_deg IS 'Longitude, degrees east, WGS 84';
COMMENT ON COLUMN meters.max_power_w IS 'Highest power the connection can carry, W: a register that grows faster is not believed';
COMMENT ON COLUMN meters.register_modulus_wh IS 'Where the energy registers roll over, Wh; NULL where it is unknown';
COMMENT ON COLUMN meters.register_resets IS 'Whether the registers may begin again at any time, as those of plugs do when they lose power';
COMMENT ON COLUMN meters.nominal_voltage_v IS 'Nominal voltage between phase and neutral, V';
COMMENT ON COLUMN meters.phases IS 'Phases that are connected, as bits: 1 phase 1, 2 phase 2, 4 phase 3; NULL for those that ever had voltage';
COMMENT ON COLUMN meters.rated_power_w IS 'Power that the connection is rated for, W; NULL where it is unknown, and no load is too high';
COMMENT ON COLUMN meters.exports IS 'Whether it may feed in; NULL where its tariff and its generators say so';
COMMENT ON COLUMN meters.created_at IS 'When the row was made';
COMMENT ON COLUMN meters.updated_at IS 'When the row changed last';
COMMENT ON INDEX meters_model_serial_key IS 'A meter is registered once';
COMMENT ON INDEX meters_site_idx IS 'Meters of a site';
CREATE OR REPLACE TRIGGER meters_touch BEFORE UPDATE ON meters FOR EACH ROW EXECUTE FUNCTION touch_updated_at('meter_code');
CREATE OR REPLACE TRIGGER meters_audit AFTER INSERT OR UPDATE OR DELETE ON meters
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_id');
-- A code is made of the number, which never changes but by somebody's hand.
CREATE OR REPLACE TRIGGER meters_access AFTER DELETE OR TRUNCATE OR UPDATE OF meter_id ON meters
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed_for_all();
GRANT SELECT, INSERT, UPDATE ON meters TO segs_api;
GRANT USAGE ON SEQUENCE meters_meter_id_seq TO segs_api;
GRANT SELECT, UPDATE (status) ON meters TO segs_worker;
GRANT SELECT ON meters TO segs_readonly;
