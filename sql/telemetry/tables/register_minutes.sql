-- The first and the last read of every register in every minute: what the energy of aggregates_1m is the difference of.

CREATE TABLE IF NOT EXISTS register_minutes (
    meter_id integer NOT NULL,
    register smallint NOT NULL CHECK (register BETWEEN 1 AND 4),
    bucket timestamptz NOT NULL,
    first_at timestamptz NOT NULL,
    first_value bigint NOT NULL,
    last_at timestamptz NOT NULL CHECK (last_at >= first_at),
    last_value bigint NOT NULL,
    odd boolean NOT NULL
);
SELECT create_hypertable('register_minutes', by_range('bucket', INTERVAL '1 day'), create_default_indexes => false, if_not_exists => true);
CREATE UNIQUE INDEX IF NOT EXISTS register_minutes_meter_id_register_bucket_key ON register_minutes (meter_id, register, bucket);
COMMENT ON TABLE register_minutes IS 'First and last read of a register in each minute that has one; kept for 8 days, a day longer than raw_readings';
COMMENT ON INDEX register_minutes_meter_id_register_bucket_key IS 'One row per register and minute; finds the neighbouring minutes that have a read';
COMMENT ON COLUMN register_minutes.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN register_minutes.register IS '1 energy_import_wh, 2 energy_export_wh, 3 reactive_energy_import_varh, 4 reactive_energy_export_varh';
COMMENT ON COLUMN register_minutes.bucket IS 'Start of the minute, UTC; the bucket is half-open';
COMMENT ON COLUMN register_minutes.first_at IS 'Time of the first read in the minute';
COMMENT ON COLUMN register_minutes.first_value IS 'Register at first_at, Wh or varh';
COMMENT ON COLUMN register_minutes.last_at IS 'Time of the last read in the minute';
COMMENT ON COLUMN register_minutes.last_value IS 'Register at last_at, Wh or varh';
COMMENT ON COLUMN register_minutes.odd IS 'A read of the minute lies outside first_value to last_value, or the register grew faster than the connection can carry';
GRANT SELECT, INSERT, UPDATE, DELETE ON register_minutes TO segs_worker;
GRANT SELECT ON register_minutes TO segs_api, segs_readonly;
