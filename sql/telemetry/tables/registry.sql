-- What telemetry needs of the domain: kept in step by the cloud, read by receivers and workers. Never joined across databases.

CREATE TABLE IF NOT EXISTS gateway_registry (
    gateway_id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    key_hashes bytea[] NOT NULL DEFAULT '{}' CHECK (array_position(key_hashes, NULL) IS NULL)
);
COMMENT ON TABLE gateway_registry IS 'Gateways that may deliver, a copy of gateways and gateway_keys of the domain database';
COMMENT ON COLUMN gateway_registry.gateway_id IS 'gateways.gateway_id of the domain database';
COMMENT ON COLUMN gateway_registry.name IS 'The gateway''s name, for people';
COMMENT ON COLUMN gateway_registry.key_hashes IS 'SHA-256 of each key that is valid now; no entry means that nothing is accepted';
GRANT SELECT ON gateway_registry TO segs_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_registry TO segs_worker;
GRANT SELECT (gateway_id, name) ON gateway_registry TO segs_readonly;

CREATE TABLE IF NOT EXISTS region_registry (
    region text PRIMARY KEY CHECK (region ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    capacity_w double precision CHECK (capacity_w > 0)
);
COMMENT ON TABLE region_registry IS 'Regions over which meters are summed';
COMMENT ON COLUMN region_registry.region IS 'Short name: lower-case letters, digits, hyphen and underscore';
COMMENT ON COLUMN region_registry.capacity_w IS 'Capacity of the region''s supply, W; NULL where it is unknown';
GRANT SELECT ON region_registry TO segs_ingest, segs_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON region_registry TO segs_worker;

CREATE TABLE IF NOT EXISTS device_registry (
    device_registry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateway_registry,
    device text NOT NULL CHECK (device ~ '^[A-Za-z0-9._-]+(/[0-9]+)?$' AND length(device) <= 96),
    meter_id integer NOT NULL,
    meter_code text NOT NULL CHECK (meter_code ~ '^MTR-[0-9]{8,}$'),
    region text NOT NULL REFERENCES region_registry,
    timezone text NOT NULL,
    max_power_w double precision NOT NULL DEFAULT 1e6 CHECK (max_power_w > 0),
    register_modulus_wh bigint CHECK (register_modulus_wh > 0),
    register_resets boolean NOT NULL DEFAULT false,
    interval_ms integer NOT NULL CHECK (interval_ms > 0),
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity') CHECK (NOT isempty(valid) AND NOT upper_inc(valid)),
    CONSTRAINT device_registry_one_meter_per_device EXCLUDE USING gist (gateway_id WITH =, device WITH =, valid WITH &&),
    CONSTRAINT device_registry_one_device_per_meter EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS device_registry_meter_idx ON device_registry (meter_id);
CREATE INDEX IF NOT EXISTS device_registry_region_idx ON device_registry (region, meter_id);
COMMENT ON TABLE device_registry IS 'Which device of which gateway is which meter, where it is and since when (effective-dated)';
COMMENT ON COLUMN device_registry.device_registry_id IS 'Row key';
COMMENT ON COLUMN device_registry.gateway_id IS 'The gateway that reads the device';
COMMENT ON COLUMN device_registry.device IS 'The gateway''s name of the device, name/n for channel n of a device with several meters in it';
COMMENT ON COLUMN device_registry.meter_id IS 'meters.meter_id of the domain database';
COMMENT ON COLUMN device_registry.meter_code IS 'meters.meter_code of the domain database, for people';
COMMENT ON COLUMN device_registry.region IS 'Region the meter counts in during valid';
COMMENT ON COLUMN device_registry.timezone IS 'IANA zone of the meter: its days and billing periods are local to it';
COMMENT ON COLUMN device_registry.max_power_w IS 'Highest power the connection can carry, W: a register that grows faster is not believed';
COMMENT ON COLUMN device_registry.register_modulus_wh IS 'Where the registers wrap and go on at 0, Wh or varh; NULL where it is unknown';
COMMENT ON COLUMN device_registry.register_resets IS 'Whether the registers may begin again at any time, as those of plugs do when they lose power';
COMMENT ON COLUMN device_registry.interval_ms IS 'Expected time between two readings, milliseconds';
COMMENT ON COLUMN device_registry.valid IS 'The span of reading times for which the row holds, half-open';
COMMENT ON INDEX device_registry_meter_idx IS 'Rows of a meter';
COMMENT ON INDEX device_registry_region_idx IS 'Members of a region';
GRANT SELECT ON device_registry TO segs_ingest, segs_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON device_registry TO segs_worker;

CREATE TABLE IF NOT EXISTS registry_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL DEFAULT 1,
    copied_token uuid,
    copied_version bigint
);
INSERT INTO registry_version DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE registry_version IS 'One row, counted up by every change of a registry table: receivers compare it within each transaction';
COMMENT ON COLUMN registry_version.only_row IS 'Always true';
COMMENT ON COLUMN registry_version.version IS 'Number of the registry''s present state';
COMMENT ON COLUMN registry_version.copied_token IS 'What registry_state of the domain database was named when it was copied last; NULL before';
COMMENT ON COLUMN registry_version.copied_version IS 'The version after that copy: another one says that somebody changed a registry table since';
GRANT SELECT ON registry_version TO segs_ingest, segs_readonly;
GRANT SELECT, UPDATE ON registry_version TO segs_worker;

CREATE OR REPLACE FUNCTION registry_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE registry_version SET version = version + 1;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION registry_changed() IS 'Counts registry_version up after a statement that changed a registry table';

CREATE OR REPLACE TRIGGER gateway_registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gateway_registry
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER region_registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON region_registry
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER device_registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON device_registry
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
