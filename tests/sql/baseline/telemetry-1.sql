-- telemetry/version.sql
-- Which master this is. Raise the number together with a new migrations/telemetry/NNNN-name.sql, never without one.
SET LOCAL segs.master = 'telemetry';
SET LOCAL segs.master_version = '1';

-- schema_version.sql
-- First part of both masters: one apply at a time, and none onto a database that this master does not fit. The masters
-- say CREATE ... IF NOT EXISTS, which never reaches a table that is there: a database of another version is changed by
-- the migrations and by nothing else.
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;

DO $$
DECLARE
    v_master CONSTANT text := current_setting('segs.master');
    v_version CONSTANT integer := current_setting('segs.master_version');
    v_found record;
    v_table text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.schema', 0));
    IF to_regclass('public.schema_version') IS NULL THEN
        SELECT c.relname INTO v_table
          FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         ORDER BY c.relname
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'database % has tables (% for one) but no schema_version: it is not a SEGS database',
                current_database(), v_table
                USING ERRCODE = 'SG001', HINT = 'Name an empty database.';
        END IF;
        RETURN;
    END IF;
    SELECT version, master INTO v_found FROM public.schema_version ORDER BY version DESC LIMIT 1;
    IF v_found.master <> v_master THEN
        RAISE EXCEPTION 'database % holds the % schema, this is the % master',
            current_database(), v_found.master, v_master
            USING ERRCODE = 'SG001', HINT = 'SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN name two databases; are they swapped?';
    ELSIF v_found.version < v_version THEN
        RAISE EXCEPTION 'database % is at % schema version %, this master is version %',
            current_database(), v_master, v_found.version, v_version
            USING ERRCODE = 'SG001', HINT = 'Run segs-cloud schema apply: it brings the migrations in between.';
    ELSIF v_found.version > v_version THEN
        RAISE EXCEPTION 'database % is at % schema version %, newer than this master''s %',
            current_database(), v_master, v_found.version, v_version
            USING ERRCODE = 'SG001', HINT = 'Use the SEGS release that the database was upgraded with, or a later one.';
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY CHECK (version >= 1),
    master text NOT NULL CHECK (master IN ('domain', 'telemetry')),
    checksum text CHECK (checksum ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT current_user
);
COMMENT ON TABLE schema_version IS 'Every schema version this database has been at; the highest is the one it is at';
COMMENT ON COLUMN schema_version.version IS 'Number of the last migration in it, from 1';
COMMENT ON COLUMN schema_version.master IS 'Which of the two masters: domain or telemetry';
COMMENT ON COLUMN schema_version.checksum IS 'SHA-256 (hex) of the master that segs-cloud schema apply ran; NULL while only psql has run it, and for versions passed through';
COMMENT ON COLUMN schema_version.applied_at IS 'When the database came to this version';
COMMENT ON COLUMN schema_version.applied_by IS 'Database role that applied it';

-- The checksum is for segs-cloud schema apply to set: what psql ran, nobody has compared.
INSERT INTO schema_version (version, master)
VALUES (current_setting('segs.master_version')::integer, current_setting('segs.master'))
ON CONFLICT (version) DO UPDATE SET checksum = NULL;

-- telemetry/extensions.sql
-- TimescaleDB carries the hypertables, btree_gist the effective-dated registry's exclusion constraints.
CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

-- roles.sql
-- The service roles. Roles belong to the cluster, and several databases may be applied at the same instant, so finding
-- one created meanwhile is no error. Passwords are the operator's: none is set here.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['segs_ingest', 'segs_api', 'segs_worker', 'segs_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', v_role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO segs_ingest, segs_api, segs_worker, segs_readonly', current_database());
    -- Ingest and release stage rows in temporary tables; the others have no use for one.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO segs_ingest, segs_worker', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO segs_ingest, segs_api, segs_worker, segs_readonly;
GRANT SELECT ON schema_version TO segs_ingest, segs_api, segs_worker, segs_readonly;

-- telemetry/tables/registry.sql
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
GRANT SELECT (gateway_id, name) ON gateway_registry TO segs_api, segs_readonly;

CREATE TABLE IF NOT EXISTS region_registry (
    region text PRIMARY KEY CHECK (region ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    capacity_w double precision CHECK (capacity_w > 0)
);
COMMENT ON TABLE region_registry IS 'Regions over which meters are summed';
COMMENT ON COLUMN region_registry.region IS 'Short name: lower-case letters, digits, hyphen and underscore';
COMMENT ON COLUMN region_registry.capacity_w IS 'Capacity of the region''s supply, W; NULL where it is unknown';
GRANT SELECT ON region_registry TO segs_ingest, segs_api, segs_readonly;
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
    interval_ms integer NOT NULL CHECK (interval_ms > 0),
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity') CHECK (NOT isempty(valid) AND NOT upper_inc(valid)),
    CONSTRAINT device_registry_one_meter_per_device EXCLUDE USING gist (gateway_id WITH =, device WITH =, valid WITH &&),
    CONSTRAINT device_registry_one_device_per_meter EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
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
COMMENT ON COLUMN device_registry.interval_ms IS 'Expected time between two readings, milliseconds';
COMMENT ON COLUMN device_registry.valid IS 'The span of reading times for which the row holds, half-open';
COMMENT ON INDEX device_registry_region_idx IS 'Members of a region';
GRANT SELECT ON device_registry TO segs_ingest, segs_api, segs_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON device_registry TO segs_worker;

CREATE TABLE IF NOT EXISTS registry_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL DEFAULT 1
);
INSERT INTO registry_version DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE registry_version IS 'One row, counted up by every change of a registry table: receivers compare it within each transaction';
COMMENT ON COLUMN registry_version.only_row IS 'Always true';
COMMENT ON COLUMN registry_version.version IS 'Number of the registry''s present state';
GRANT SELECT ON registry_version TO segs_ingest, segs_api, segs_readonly;
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

-- telemetry/tables/raw_readings.sql
-- Every reading as the meter gave it, kept for 7 days. One unique index and no second one: the index is as large as the data.

CREATE TABLE IF NOT EXISTS raw_readings (
    time timestamptz NOT NULL,
    meter_id integer NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    batch_id bigint NOT NULL,
    power_w real,
    power_l1_w real,
    power_l2_w real,
    power_l3_w real,
    apparent_power_va real,
    reactive_power_var real,
    power_factor real,
    voltage_l1_v real,
    voltage_l2_v real,
    voltage_l3_v real,
    current_l1_a real,
    current_l2_a real,
    current_l3_a real,
    frequency_hz real,
    energy_import_wh bigint,
    energy_export_wh bigint,
    reactive_energy_import_varh bigint,
    reactive_energy_export_varh bigint
);
SELECT create_hypertable('raw_readings', by_range('time', INTERVAL '1 day'), create_default_indexes => false, if_not_exists => true);
CREATE UNIQUE INDEX IF NOT EXISTS raw_readings_meter_id_time_key ON raw_readings (meter_id, time);
COMMENT ON TABLE raw_readings IS 'Readings as decoded at the gateway; immutable but for columns that a later batch completes';
COMMENT ON INDEX raw_readings_meter_id_time_key IS 'One reading of a meter at one instant; serves every query by meter and time';
COMMENT ON COLUMN raw_readings.time IS 'When the meter''s reply arrived at the gateway, or the meter''s own clock if flags say so';
COMMENT ON COLUMN raw_readings.meter_id IS 'device_registry.meter_id; no foreign key, it would deadlock with the creation and dropping of chunks';
COMMENT ON COLUMN raw_readings.flags IS 'Bit 0 (1): time is the meter''s own clock';
COMMENT ON COLUMN raw_readings.batch_id IS 'ingest_batches.batch_id: gateway, stream, sequence number and time of arrival';
COMMENT ON COLUMN raw_readings.power_w IS 'Active power, all phases, W; positive while energy flows to the customer';
COMMENT ON COLUMN raw_readings.power_l1_w IS 'Active power, phase L1, W';
COMMENT ON COLUMN raw_readings.power_l2_w IS 'Active power, phase L2, W';
COMMENT ON COLUMN raw_readings.power_l3_w IS 'Active power, phase L3, W';
COMMENT ON COLUMN raw_readings.apparent_power_va IS 'Apparent power, all phases, VA';
COMMENT ON COLUMN raw_readings.reactive_power_var IS 'Reactive power, all phases, var';
COMMENT ON COLUMN raw_readings.power_factor IS 'Power factor, all phases, -1 to 1';
COMMENT ON COLUMN raw_readings.voltage_l1_v IS 'Voltage, phase L1 to neutral, V';
COMMENT ON COLUMN raw_readings.voltage_l2_v IS 'Voltage, phase L2 to neutral, V';
COMMENT ON COLUMN raw_readings.voltage_l3_v IS 'Voltage, phase L3 to neutral, V';
COMMENT ON COLUMN raw_readings.current_l1_a IS 'Current, phase L1, A';
COMMENT ON COLUMN raw_readings.current_l2_a IS 'Current, phase L2, A';
COMMENT ON COLUMN raw_readings.current_l3_a IS 'Current, phase L3, A';
COMMENT ON COLUMN raw_readings.frequency_hz IS 'Grid frequency, Hz';
COMMENT ON COLUMN raw_readings.energy_import_wh IS 'Register of active energy delivered to the customer, Wh';
COMMENT ON COLUMN raw_readings.energy_export_wh IS 'Register of active energy received from the customer, Wh';
COMMENT ON COLUMN raw_readings.reactive_energy_import_varh IS 'Register of reactive energy, import, varh';
COMMENT ON COLUMN raw_readings.reactive_energy_export_varh IS 'Register of reactive energy, export, varh';
GRANT SELECT, INSERT,
       UPDATE (power_w, power_l1_w, power_l2_w, power_l3_w, apparent_power_va, reactive_power_var, power_factor,
              voltage_l1_v, voltage_l2_v, voltage_l3_v, current_l1_a, current_l2_a, current_l3_a, frequency_hz,
              energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh)
    ON raw_readings TO segs_ingest, segs_worker;
GRANT SELECT ON raw_readings TO segs_api, segs_readonly;

-- telemetry/tables/ingest.sql
-- The ledger of batches, what could not be stored as it came, and which buckets have to be computed again.

CREATE TABLE IF NOT EXISTS ingest_batches (
    batch_id bigint GENERATED BY DEFAULT AS IDENTITY UNIQUE,
    gateway_id integer NOT NULL REFERENCES gateway_registry,
    stream uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    received_at timestamptz NOT NULL,
    readings integer NOT NULL CHECK (readings >= 0),
    stored integer NOT NULL CHECK (stored >= 0),
    duplicates integer NOT NULL CHECK (duplicates >= 0),
    quarantined jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(quarantined) = 'array'),
    PRIMARY KEY (gateway_id, stream, seq)
);
CREATE INDEX IF NOT EXISTS ingest_batches_received_at_idx ON ingest_batches USING brin (received_at);
COMMENT ON TABLE ingest_batches IS 'The ledger: one row for every batch ever committed; a repeat gets its receipt from here';
COMMENT ON COLUMN ingest_batches.batch_id IS 'Key of the batch in raw_readings and quarantine';
COMMENT ON COLUMN ingest_batches.gateway_id IS 'The gateway whose key the batch came with';
COMMENT ON COLUMN ingest_batches.stream IS 'Identity of the gateway''s buffer file; a new file is a new stream';
COMMENT ON COLUMN ingest_batches.seq IS 'Number of the batch in its stream, from 1 without gaps';
COMMENT ON COLUMN ingest_batches.sha256 IS 'Checksum of the encoded batch before compression';
COMMENT ON COLUMN ingest_batches.received_at IS 'When the receiver began to store the batch';
COMMENT ON COLUMN ingest_batches.readings IS 'Readings in the batch';
COMMENT ON COLUMN ingest_batches.stored IS 'Rows that the batch added to raw_readings';
COMMENT ON COLUMN ingest_batches.duplicates IS 'Readings whose row was there before, with the same values or completed by this batch';
COMMENT ON COLUMN ingest_batches.quarantined IS 'What was set aside: [{device, reason, readings}]';
COMMENT ON INDEX ingest_batches_received_at_idx IS 'What came within a span of time; small, as the ledger only grows';
GRANT SELECT, INSERT, UPDATE (stored, duplicates, quarantined) ON ingest_batches TO segs_ingest;
GRANT SELECT ON ingest_batches TO segs_worker, segs_api, segs_readonly;

CREATE TABLE IF NOT EXISTS quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id bigint NOT NULL,
    gateway_id integer NOT NULL REFERENCES gateway_registry,
    device text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('unknown_device', 'future', 'too_old', 'out_of_range', 'not_a_number',
                                           'not_an_integer', 'unknown_quantity', 'conflict')),
    readings integer NOT NULL CHECK (readings > 0),
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    block jsonb NOT NULL CHECK (jsonb_typeof(block) = 'object'),
    created_at timestamptz NOT NULL,
    released_at timestamptz,
    released_stored integer CHECK (released_stored >= 0),
    CHECK ((released_at IS NULL) = (released_stored IS NULL))
);
CREATE INDEX IF NOT EXISTS quarantine_open_idx ON quarantine (gateway_id, device, reason) WHERE released_at IS NULL;
COMMENT ON TABLE quarantine IS 'Readings and values that were not stored, in the batch''s own columnar form, with the reason; nothing is dropped';
COMMENT ON COLUMN quarantine.quarantine_id IS 'Row key';
COMMENT ON COLUMN quarantine.batch_id IS 'ingest_batches.batch_id of the batch they came in';
COMMENT ON COLUMN quarantine.gateway_id IS 'The gateway they came from';
COMMENT ON COLUMN quarantine.device IS 'The gateway''s name of the device';
COMMENT ON COLUMN quarantine.reason IS 'unknown_device, future and too_old hold whole readings; the others single values, the rest of the reading is stored';
COMMENT ON COLUMN quarantine.readings IS 'Number of readings in block';
COMMENT ON COLUMN quarantine.first_time IS 'Earliest reading time in block, clamped to what timestamptz holds';
COMMENT ON COLUMN quarantine.last_time IS 'Latest reading time in block, clamped to what timestamptz holds';
COMMENT ON COLUMN quarantine.block IS 'The device block as in the batch: time_us, values, flags; NaN and infinities as strings';
COMMENT ON COLUMN quarantine.created_at IS 'When they were set aside';
COMMENT ON COLUMN quarantine.released_at IS 'When they were stored after all; NULL while they wait';
COMMENT ON COLUMN quarantine.released_stored IS 'Rows that the release added to raw_readings';
COMMENT ON INDEX quarantine_open_idx IS 'What waits for a registration';
GRANT SELECT, INSERT ON quarantine TO segs_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO segs_worker;
GRANT SELECT ON quarantine TO segs_api, segs_readonly;

CREATE TABLE IF NOT EXISTS dirty_readings (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE dirty_readings IS 'Append-only queue: spans of raw readings that came or changed; workers delete marks and compute what they touch';
COMMENT ON COLUMN dirty_readings.dirty_id IS 'Order of arrival';
COMMENT ON COLUMN dirty_readings.meter_id IS 'Meter whose readings came';
COMMENT ON COLUMN dirty_readings.first_time IS 'Earliest reading of the span';
COMMENT ON COLUMN dirty_readings.last_time IS 'Latest reading of the span, inclusive';
COMMENT ON COLUMN dirty_readings.marked_at IS 'When the span was marked; the age of the oldest mark is the workers'' lag';
GRANT SELECT, INSERT ON dirty_readings TO segs_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_readings TO segs_worker;
GRANT SELECT ON dirty_readings TO segs_api, segs_readonly;

CREATE TABLE IF NOT EXISTS dirty_regions (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region text NOT NULL,
    bucket timestamptz NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE dirty_regions IS 'Append-only queue: quarter-hours of regions whose meters changed';
COMMENT ON COLUMN dirty_regions.dirty_id IS 'Order of arrival';
COMMENT ON COLUMN dirty_regions.region IS 'Region to sum again';
COMMENT ON COLUMN dirty_regions.bucket IS 'Start of the quarter-hour, UTC';
COMMENT ON COLUMN dirty_regions.marked_at IS 'When the bucket was marked';
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_regions TO segs_worker;
GRANT SELECT ON dirty_regions TO segs_api, segs_readonly;

-- telemetry/tables/register_minutes.sql
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

-- telemetry/tables/aggregates_1m.sql
-- Minutes of a meter, computed from raw_readings; kept for 30 days

CREATE TABLE IF NOT EXISTS aggregates_1m (
    meter_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    samples integer NOT NULL CHECK (samples >= 0),
    coverage real NOT NULL CHECK (coverage BETWEEN 0 AND 100),
    quality smallint NOT NULL CHECK (quality IN (0, 7, 8, 9, 10, 14, 17, 18, 19)),
    energy_import_wh bigint,
    energy_export_wh bigint,
    reactive_energy_import_varh bigint,
    reactive_energy_export_varh bigint,
    power_w_count integer NOT NULL DEFAULT 0,
    power_w_min real,
    power_w_max real,
    power_w_sum double precision,
    voltage_l1_v_count integer NOT NULL DEFAULT 0,
    voltage_l1_v_min real,
    voltage_l1_v_max real,
    voltage_l1_v_sum double precision,
    voltage_l2_v_count integer NOT NULL DEFAULT 0,
    voltage_l2_v_min real,
    voltage_l2_v_max real,
    voltage_l2_v_sum double precision,
    voltage_l3_v_count integer NOT NULL DEFAULT 0,
    voltage_l3_v_min real,
    voltage_l3_v_max real,
    voltage_l3_v_sum double precision,
    current_l1_a_count integer NOT NULL DEFAULT 0,
    current_l1_a_min real,
    current_l1_a_max real,
    current_l1_a_sum double precision,
    current_l2_a_count integer NOT NULL DEFAULT 0,
    current_l2_a_min real,
    current_l2_a_max real,
    current_l2_a_sum double precision,
    current_l3_a_count integer NOT NULL DEFAULT 0,
    current_l3_a_min real,
    current_l3_a_max real,
    current_l3_a_sum double precision,
    frequency_hz_count integer NOT NULL DEFAULT 0,
    frequency_hz_min real,
    frequency_hz_max real,
    frequency_hz_sum double precision,
    power_factor_count integer NOT NULL DEFAULT 0,
    power_factor_min real,
    power_factor_max real,
    power_factor_sum double precision,
    computed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT create_hypertable('aggregates_1m', by_range('bucket', INTERVAL '1 day'), create_default_indexes => false, if_not_exists => true);
CREATE UNIQUE INDEX IF NOT EXISTS aggregates_1m_meter_id_bucket_key ON aggregates_1m (meter_id, bucket);
COMMENT ON TABLE aggregates_1m IS 'Minutes of a meter, computed from raw_readings; kept for 30 days';
COMMENT ON INDEX aggregates_1m_meter_id_bucket_key IS 'One row per meter and bucket';
COMMENT ON COLUMN aggregates_1m.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN aggregates_1m.bucket IS 'Start of the minute, UTC; the bucket is half-open';
COMMENT ON COLUMN aggregates_1m.samples IS 'Raw readings in the bucket';
COMMENT ON COLUMN aggregates_1m.coverage IS 'Share of the expected readings that the bucket has, percent; 0 where all of its energy is interpolated';
COMMENT ON COLUMN aggregates_1m.quality IS 'Worst ESPI QualityOfReading of what went in: 14 raw, 9 a boundary interpolated across missing readings, 10 a register step that was not believed';
COMMENT ON COLUMN aggregates_1m.energy_import_wh IS 'Active energy of the bucket, import, Wh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_1m.energy_export_wh IS 'Active energy of the bucket, export, Wh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_1m.reactive_energy_import_varh IS 'Reactive energy of the bucket, import, varh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_1m.reactive_energy_export_varh IS 'Reactive energy of the bucket, export, varh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_1m.power_w_count IS 'Readings that had power_w';
COMMENT ON COLUMN aggregates_1m.power_w_min IS 'Lowest power_w, W';
COMMENT ON COLUMN aggregates_1m.power_w_max IS 'Highest power_w, W';
COMMENT ON COLUMN aggregates_1m.power_w_sum IS 'Sum of power_w, W; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.voltage_l1_v_count IS 'Readings that had voltage_l1_v';
COMMENT ON COLUMN aggregates_1m.voltage_l1_v_min IS 'Lowest voltage_l1_v, V';
COMMENT ON COLUMN aggregates_1m.voltage_l1_v_max IS 'Highest voltage_l1_v, V';
COMMENT ON COLUMN aggregates_1m.voltage_l1_v_sum IS 'Sum of voltage_l1_v, V; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.voltage_l2_v_count IS 'Readings that had voltage_l2_v';
COMMENT ON COLUMN aggregates_1m.voltage_l2_v_min IS 'Lowest voltage_l2_v, V';
COMMENT ON COLUMN aggregates_1m.voltage_l2_v_max IS 'Highest voltage_l2_v, V';
COMMENT ON COLUMN aggregates_1m.voltage_l2_v_sum IS 'Sum of voltage_l2_v, V; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.voltage_l3_v_count IS 'Readings that had voltage_l3_v';
COMMENT ON COLUMN aggregates_1m.voltage_l3_v_min IS 'Lowest voltage_l3_v, V';
COMMENT ON COLUMN aggregates_1m.voltage_l3_v_max IS 'Highest voltage_l3_v, V';
COMMENT ON COLUMN aggregates_1m.voltage_l3_v_sum IS 'Sum of voltage_l3_v, V; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.current_l1_a_count IS 'Readings that had current_l1_a';
COMMENT ON COLUMN aggregates_1m.current_l1_a_min IS 'Lowest current_l1_a, A';
COMMENT ON COLUMN aggregates_1m.current_l1_a_max IS 'Highest current_l1_a, A';
COMMENT ON COLUMN aggregates_1m.current_l1_a_sum IS 'Sum of current_l1_a, A; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.current_l2_a_count IS 'Readings that had current_l2_a';
COMMENT ON COLUMN aggregates_1m.current_l2_a_min IS 'Lowest current_l2_a, A';
COMMENT ON COLUMN aggregates_1m.current_l2_a_max IS 'Highest current_l2_a, A';
COMMENT ON COLUMN aggregates_1m.current_l2_a_sum IS 'Sum of current_l2_a, A; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.current_l3_a_count IS 'Readings that had current_l3_a';
COMMENT ON COLUMN aggregates_1m.current_l3_a_min IS 'Lowest current_l3_a, A';
COMMENT ON COLUMN aggregates_1m.current_l3_a_max IS 'Highest current_l3_a, A';
COMMENT ON COLUMN aggregates_1m.current_l3_a_sum IS 'Sum of current_l3_a, A; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.frequency_hz_count IS 'Readings that had frequency_hz';
COMMENT ON COLUMN aggregates_1m.frequency_hz_min IS 'Lowest frequency_hz, Hz';
COMMENT ON COLUMN aggregates_1m.frequency_hz_max IS 'Highest frequency_hz, Hz';
COMMENT ON COLUMN aggregates_1m.frequency_hz_sum IS 'Sum of frequency_hz, Hz; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.power_factor_count IS 'Readings that had power_factor';
COMMENT ON COLUMN aggregates_1m.power_factor_min IS 'Lowest power_factor';
COMMENT ON COLUMN aggregates_1m.power_factor_max IS 'Highest power_factor';
COMMENT ON COLUMN aggregates_1m.power_factor_sum IS 'Sum of power_factor; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_1m.computed_at IS 'When the row was computed last';
GRANT SELECT, INSERT, UPDATE, DELETE ON aggregates_1m TO segs_worker;
GRANT SELECT ON aggregates_1m TO segs_api, segs_readonly;

-- telemetry/tables/aggregates_15m.sql
-- Quarter-hours of a meter, computed from aggregates_1m; kept for 365 days

CREATE TABLE IF NOT EXISTS aggregates_15m (
    meter_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    samples integer NOT NULL CHECK (samples >= 0),
    coverage real NOT NULL CHECK (coverage BETWEEN 0 AND 100),
    quality smallint NOT NULL CHECK (quality IN (0, 7, 8, 9, 10, 14, 17, 18, 19)),
    energy_import_wh bigint,
    energy_export_wh bigint,
    reactive_energy_import_varh bigint,
    reactive_energy_export_varh bigint,
    power_w_count integer NOT NULL DEFAULT 0,
    power_w_min real,
    power_w_max real,
    power_w_sum double precision,
    voltage_l1_v_count integer NOT NULL DEFAULT 0,
    voltage_l1_v_min real,
    voltage_l1_v_max real,
    voltage_l1_v_sum double precision,
    voltage_l2_v_count integer NOT NULL DEFAULT 0,
    voltage_l2_v_min real,
    voltage_l2_v_max real,
    voltage_l2_v_sum double precision,
    voltage_l3_v_count integer NOT NULL DEFAULT 0,
    voltage_l3_v_min real,
    voltage_l3_v_max real,
    voltage_l3_v_sum double precision,
    current_l1_a_count integer NOT NULL DEFAULT 0,
    current_l1_a_min real,
    current_l1_a_max real,
    current_l1_a_sum double precision,
    current_l2_a_count integer NOT NULL DEFAULT 0,
    current_l2_a_min real,
    current_l2_a_max real,
    current_l2_a_sum double precision,
    current_l3_a_count integer NOT NULL DEFAULT 0,
    current_l3_a_min real,
    current_l3_a_max real,
    current_l3_a_sum double precision,
    frequency_hz_count integer NOT NULL DEFAULT 0,
    frequency_hz_min real,
    frequency_hz_max real,
    frequency_hz_sum double precision,
    power_factor_count integer NOT NULL DEFAULT 0,
    power_factor_min real,
    power_factor_max real,
    power_factor_sum double precision,
    computed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT create_hypertable('aggregates_15m', by_range('bucket', INTERVAL '7 days'), create_default_indexes => false, if_not_exists => true);
CREATE UNIQUE INDEX IF NOT EXISTS aggregates_15m_meter_id_bucket_key ON aggregates_15m (meter_id, bucket);
COMMENT ON TABLE aggregates_15m IS 'Quarter-hours of a meter, computed from aggregates_1m; kept for 365 days';
COMMENT ON INDEX aggregates_15m_meter_id_bucket_key IS 'One row per meter and bucket';
COMMENT ON COLUMN aggregates_15m.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN aggregates_15m.bucket IS 'Start of the quarter-hour, UTC; the bucket is half-open';
COMMENT ON COLUMN aggregates_15m.samples IS 'Raw readings in the bucket';
COMMENT ON COLUMN aggregates_15m.coverage IS 'Share of the expected readings that the bucket has, percent; 0 where all of its energy is interpolated';
COMMENT ON COLUMN aggregates_15m.quality IS 'Worst ESPI QualityOfReading of what went in: 14 raw, 9 a boundary interpolated across missing readings, 10 a register step that was not believed';
COMMENT ON COLUMN aggregates_15m.energy_import_wh IS 'Active energy of the bucket, import, Wh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_15m.energy_export_wh IS 'Active energy of the bucket, export, Wh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_15m.reactive_energy_import_varh IS 'Reactive energy of the bucket, import, varh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_15m.reactive_energy_export_varh IS 'Reactive energy of the bucket, export, varh: register at its end minus register at its start; NULL without a register';
COMMENT ON COLUMN aggregates_15m.power_w_count IS 'Readings that had power_w';
COMMENT ON COLUMN aggregates_15m.power_w_min IS 'Lowest power_w, W';
COMMENT ON COLUMN aggregates_15m.power_w_max IS 'Highest power_w, W';
COMMENT ON COLUMN aggregates_15m.power_w_sum IS 'Sum of power_w, W; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.voltage_l1_v_count IS 'Readings that had voltage_l1_v';
COMMENT ON COLUMN aggregates_15m.voltage_l1_v_min IS 'Lowest voltage_l1_v, V';
COMMENT ON COLUMN aggregates_15m.voltage_l1_v_max IS 'Highest voltage_l1_v, V';
COMMENT ON COLUMN aggregates_15m.voltage_l1_v_sum IS 'Sum of voltage_l1_v, V; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.voltage_l2_v_count IS 'Readings that had voltage_l2_v';
COMMENT ON COLUMN aggregates_15m.voltage_l2_v_min IS 'Lowest voltage_l2_v, V';
COMMENT ON COLUMN aggregates_15m.voltage_l2_v_max IS 'Highest voltage_l2_v, V';
COMMENT ON COLUMN aggregates_15m.voltage_l2_v_sum IS 'Sum of voltage_l2_v, V; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.voltage_l3_v_count IS 'Readings that had voltage_l3_v';
COMMENT ON COLUMN aggregates_15m.voltage_l3_v_min IS 'Lowest voltage_l3_v, V';
COMMENT ON COLUMN aggregates_15m.voltage_l3_v_max IS 'Highest voltage_l3_v, V';
COMMENT ON COLUMN aggregates_15m.voltage_l3_v_sum IS 'Sum of voltage_l3_v, V; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.current_l1_a_count IS 'Readings that had current_l1_a';
COMMENT ON COLUMN aggregates_15m.current_l1_a_min IS 'Lowest current_l1_a, A';
COMMENT ON COLUMN aggregates_15m.current_l1_a_max IS 'Highest current_l1_a, A';
COMMENT ON COLUMN aggregates_15m.current_l1_a_sum IS 'Sum of current_l1_a, A; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.current_l2_a_count IS 'Readings that had current_l2_a';
COMMENT ON COLUMN aggregates_15m.current_l2_a_min IS 'Lowest current_l2_a, A';
COMMENT ON COLUMN aggregates_15m.current_l2_a_max IS 'Highest current_l2_a, A';
COMMENT ON COLUMN aggregates_15m.current_l2_a_sum IS 'Sum of current_l2_a, A; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.current_l3_a_count IS 'Readings that had current_l3_a';
COMMENT ON COLUMN aggregates_15m.current_l3_a_min IS 'Lowest current_l3_a, A';
COMMENT ON COLUMN aggregates_15m.current_l3_a_max IS 'Highest current_l3_a, A';
COMMENT ON COLUMN aggregates_15m.current_l3_a_sum IS 'Sum of current_l3_a, A; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.frequency_hz_count IS 'Readings that had frequency_hz';
COMMENT ON COLUMN aggregates_15m.frequency_hz_min IS 'Lowest frequency_hz, Hz';
COMMENT ON COLUMN aggregates_15m.frequency_hz_max IS 'Highest frequency_hz, Hz';
COMMENT ON COLUMN aggregates_15m.frequency_hz_sum IS 'Sum of frequency_hz, Hz; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.power_factor_count IS 'Readings that had power_factor';
COMMENT ON COLUMN aggregates_15m.power_factor_min IS 'Lowest power_factor';
COMMENT ON COLUMN aggregates_15m.power_factor_max IS 'Highest power_factor';
COMMENT ON COLUMN aggregates_15m.power_factor_sum IS 'Sum of power_factor; divided by the count it is the mean';
COMMENT ON COLUMN aggregates_15m.computed_at IS 'When the row was computed last';
GRANT SELECT, INSERT, UPDATE, DELETE ON aggregates_15m TO segs_worker;
GRANT SELECT ON aggregates_15m TO segs_api, segs_readonly;

-- telemetry/tables/regional_15m.sql
-- Quarter-hours of a region: sums over the meters that belong to it at that time.

CREATE TABLE IF NOT EXISTS regional_15m (
    region text NOT NULL,
    bucket timestamptz NOT NULL,
    meters integer NOT NULL CHECK (meters >= 0),
    meters_expected integer NOT NULL CHECK (meters_expected >= 0),
    energy_import_wh bigint,
    energy_export_wh bigint,
    power_w_mean double precision,
    capacity_w double precision,
    load_percent double precision,
    coverage real NOT NULL CHECK (coverage BETWEEN 0 AND 100),
    quality smallint NOT NULL CHECK (quality IN (0, 7, 8, 9, 10, 14, 17, 18, 19)),
    computed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT create_hypertable('regional_15m', by_range('bucket', INTERVAL '30 days'), create_default_indexes => false, if_not_exists => true);
CREATE UNIQUE INDEX IF NOT EXISTS regional_15m_region_bucket_key ON regional_15m (region, bucket);
COMMENT ON TABLE regional_15m IS 'Quarter-hours of a region, computed from aggregates_15m; kept for 365 days';
COMMENT ON INDEX regional_15m_region_bucket_key IS 'One row per region and bucket';
COMMENT ON COLUMN regional_15m.region IS 'region_registry.region';
COMMENT ON COLUMN regional_15m.bucket IS 'Start of the quarter-hour, UTC; the bucket is half-open';
COMMENT ON COLUMN regional_15m.meters IS 'Meters of the region with a row in aggregates_15m';
COMMENT ON COLUMN regional_15m.meters_expected IS 'Meters that belong to the region at the bucket''s start';
COMMENT ON COLUMN regional_15m.energy_import_wh IS 'Sum of the meters'' imported energy, Wh';
COMMENT ON COLUMN regional_15m.energy_export_wh IS 'Sum of the meters'' exported energy, Wh';
COMMENT ON COLUMN regional_15m.power_w_mean IS 'Sum of the meters'' mean active power, W';
COMMENT ON COLUMN regional_15m.capacity_w IS 'Capacity of the region when the row was computed, W';
COMMENT ON COLUMN regional_15m.load_percent IS 'power_w_mean in percent of capacity_w';
COMMENT ON COLUMN regional_15m.coverage IS 'Mean coverage over the meters expected, percent';
COMMENT ON COLUMN regional_15m.quality IS 'Worst quality of the meters'' rows';
COMMENT ON COLUMN regional_15m.computed_at IS 'When the row was computed last';
GRANT SELECT, INSERT, UPDATE, DELETE ON regional_15m TO segs_worker;
GRANT SELECT ON regional_15m TO segs_api, segs_readonly;

-- telemetry/tables/aggregate_mismatches.sql
-- What the reconciliation of aggregates_1m against cagg_1m found.

CREATE TABLE IF NOT EXISTS aggregate_mismatches (
    mismatch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    expected jsonb NOT NULL,
    found jsonb,
    found_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS aggregate_mismatches_found_at_idx ON aggregate_mismatches (found_at);
COMMENT ON TABLE aggregate_mismatches IS 'Minutes in which aggregates_1m differed from cagg_1m; each was marked to be computed again';
COMMENT ON COLUMN aggregate_mismatches.mismatch_id IS 'Row key';
COMMENT ON COLUMN aggregate_mismatches.meter_id IS 'Meter';
COMMENT ON COLUMN aggregate_mismatches.bucket IS 'Start of the minute, UTC';
COMMENT ON COLUMN aggregate_mismatches.expected IS 'What cagg_1m says: samples, power_w_count, power_w_min, power_w_max, power_w_sum';
COMMENT ON COLUMN aggregate_mismatches.found IS 'What aggregates_1m says, NULL where it has no row';
COMMENT ON COLUMN aggregate_mismatches.found_at IS 'When the difference was found';
COMMENT ON INDEX aggregate_mismatches_found_at_idx IS 'The latest differences';
GRANT SELECT, INSERT, UPDATE, DELETE ON aggregate_mismatches TO segs_worker;
GRANT SELECT ON aggregate_mismatches TO segs_api, segs_readonly;

-- telemetry/tables/periodic_work.sql
-- When each kind of periodic work was done last, so that any number of workers do it once.

CREATE TABLE IF NOT EXISTS periodic_work (
    kind text PRIMARY KEY,
    done_at timestamptz NOT NULL
);
COMMENT ON TABLE periodic_work IS 'When each kind of periodic work was done last; the worker that holds the row does it';
COMMENT ON COLUMN periodic_work.kind IS 'Name of the work: reconcile';
COMMENT ON COLUMN periodic_work.done_at IS 'When it was begun last, and finished';
GRANT SELECT, INSERT, UPDATE, DELETE ON periodic_work TO segs_worker;
GRANT SELECT ON periodic_work TO segs_api, segs_readonly;

-- telemetry/tables/failed_marks.sql
-- Marks whose computation the database refused. They leave the queue, so that they hold up no other, and come back hourly.

CREATE TABLE IF NOT EXISTS failed_marks (
    failed_mark_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer,
    region text,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    marked_at timestamptz NOT NULL,
    failed_at timestamptz NOT NULL,
    error text NOT NULL,
    CHECK (num_nonnulls(meter_id, region) = 1)
);
COMMENT ON TABLE failed_marks IS 'Marks whose computation failed for another reason than a busy database; they are tried again every hour';
COMMENT ON COLUMN failed_marks.failed_mark_id IS 'Row key';
COMMENT ON COLUMN failed_marks.meter_id IS 'Meter, for a mark of dirty_readings';
COMMENT ON COLUMN failed_marks.region IS 'Region, for a mark of dirty_regions';
COMMENT ON COLUMN failed_marks.first_time IS 'Earliest reading of the span, or the start of the quarter-hour';
COMMENT ON COLUMN failed_marks.last_time IS 'Latest reading of the span, or the start of the quarter-hour';
COMMENT ON COLUMN failed_marks.marked_at IS 'When the span was marked';
COMMENT ON COLUMN failed_marks.failed_at IS 'When its computation failed';
COMMENT ON COLUMN failed_marks.error IS 'What the database said';
GRANT SELECT, INSERT, UPDATE, DELETE ON failed_marks TO segs_worker;
GRANT SELECT ON failed_marks TO segs_api, segs_readonly;

-- telemetry/functions/is_community.sql
-- The Apache edition has neither continuous aggregates nor policies, and a Community server can be told to behave like it.

CREATE OR REPLACE FUNCTION is_community() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT _timescaledb_functions.tsl_loaded() AND current_setting('timescaledb.license') = 'timescale' $$;
COMMENT ON FUNCTION is_community() IS 'Whether this server runs TimescaleDB''s Community edition, with continuous aggregates and policies';
GRANT EXECUTE ON FUNCTION is_community() TO segs_worker, segs_api, segs_readonly;

-- telemetry/functions/quality.sql
-- Which of two ESPI QualityOfReading codes is the worse one: 10 failed checks, 9 interpolated, 8 estimated, 7 edited,
-- 18 verified though failed, 14 raw, 17 validated, 0 valid, 19 billing.

CREATE OR REPLACE FUNCTION quality_rank(p_quality smallint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.array_position(ARRAY[19, 0, 17, 14, 18, 7, 8, 9, 10]::smallint[], p_quality);
COMMENT ON FUNCTION quality_rank(smallint) IS 'Rank of a quality code, 1 the best to 9 the worst';

CREATE OR REPLACE FUNCTION quality_of_rank(p_rank integer) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (ARRAY[19, 0, 17, 14, 18, 7, 8, 9, 10]::smallint[])[p_rank];
COMMENT ON FUNCTION quality_of_rank(integer) IS 'Quality code of a rank: quality_of_rank(max(quality_rank(quality))) is the worst of many';
GRANT EXECUTE ON FUNCTION quality_rank(smallint) TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION quality_of_rank(integer) TO segs_worker, segs_api, segs_readonly;

-- telemetry/functions/register_allowance.sql
-- The resolution of a register that counts whole kWh, on top of what the connection can carry: such a register moves by
-- 1000 Wh from one second to the next, and that is no fault.

CREATE OR REPLACE FUNCTION register_allowance(p_max_power_w double precision, p_from timestamptz, p_to timestamptz)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1000 + p_max_power_w * pg_catalog.date_part('epoch', p_to - p_from) / 3600;
COMMENT ON FUNCTION register_allowance(double precision, timestamptz, timestamptz) IS
    'How far a register may move from p_from to p_to and be believed, Wh or varh: p_max_power_w (W) all the time, and 1000';

CREATE OR REPLACE FUNCTION register_share(p_moved bigint, p_from timestamptz, p_at timestamptz, p_to timestamptz)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.round(p_moved * (pg_catalog.date_part('epoch', p_at - p_from) / pg_catalog.date_part('epoch', p_to - p_from)))::bigint;
COMMENT ON FUNCTION register_share(bigint, timestamptz, timestamptz, timestamptz) IS
    'What a register that moved by p_moved from p_from to p_to had moved at p_at, in a straight line, rounded to a whole unit';
GRANT EXECUTE ON FUNCTION register_allowance(double precision, timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION register_share(bigint, timestamptz, timestamptz, timestamptz) TO segs_worker;

-- telemetry/functions/retention_periods.sql
-- The one place that says how long a hypertable keeps its rows; policies (on Community) and the retention worker read it.

CREATE OR REPLACE FUNCTION retention_periods() RETURNS TABLE (hypertable text, keep interval)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT * FROM (VALUES ('raw_readings', INTERVAL '7 days'),
                          ('register_minutes', INTERVAL '8 days'),
                          ('aggregates_1m', INTERVAL '30 days'),
                          ('aggregates_15m', INTERVAL '365 days'),
                          ('regional_15m', INTERVAL '365 days')) AS period (hypertable, keep);
END;
COMMENT ON FUNCTION retention_periods() IS 'How long each hypertable keeps its rows';

CREATE OR REPLACE FUNCTION retention_horizon(p_hypertable text, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$ SELECT p_now - keep FROM retention_periods() WHERE hypertable = p_hypertable $$;
COMMENT ON FUNCTION retention_horizon(text, timestamptz) IS 'Before this time rows of the hypertable may be gone; NULL for a table without a period';
GRANT EXECUTE ON FUNCTION retention_periods() TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION retention_horizon(text, timestamptz) TO segs_worker, segs_api, segs_readonly;

-- telemetry/functions/summarise_minutes.sql
-- Minutes from readings: one pass over the spans in the order of the index, so that sums come out the same every time.
-- Energy is booked afterwards, by book_energy.

CREATE OR REPLACE FUNCTION summarise_minutes(
    p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t);
    v_written integer;
BEGIN
    WITH device AS MATERIALIZED (
        SELECT d.meter_id, d.valid, d.interval_ms, d.max_power_w FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), minute AS MATERIALIZED (
        SELECT span.meter_id, raw.bucket, d.interval_ms, d.max_power_w, raw.samples,
               r1_first_at, r1_first, r1_last_at, r1_last, r1_min, r1_max,
               r2_first_at, r2_first, r2_last_at, r2_last, r2_min, r2_max,
               r3_first_at, r3_first, r3_last_at, r3_last, r3_min, r3_max,
               r4_first_at, r4_first, r4_last_at, r4_last, r4_min, r4_max,
               power_w_count, power_w_min, power_w_max, power_w_sum,
               voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
               voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
               voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
               current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
               current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
               current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
               frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
               power_factor_count, power_factor_min, power_factor_max, power_factor_sum
        FROM unnest(p_meters, p_from, p_to) AS span (meter_id, lo, hi)
        CROSS JOIN LATERAL (
            SELECT time_bucket(INTERVAL '1 minute', r.time) AS bucket, count(*)::integer AS samples,
                   min(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_first_at,
                   first(r.energy_import_wh, r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_first,
                   max(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_last_at,
                   last(r.energy_import_wh, r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_last,
                   min(r.energy_import_wh) AS r1_min, max(r.energy_import_wh) AS r1_max,
                   min(r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_first_at,
                   first(r.energy_export_wh, r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_first,
                   max(r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_last_at,
                   last(r.energy_export_wh, r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_last,
                   min(r.energy_export_wh) AS r2_min, max(r.energy_export_wh) AS r2_max,
                   min(r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_first_at,
                   first(r.reactive_energy_import_varh, r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_first,
                   max(r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_last_at,
                   last(r.reactive_energy_import_varh, r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_last,
                   min(r.reactive_energy_import_varh) AS r3_min, max(r.reactive_energy_import_varh) AS r3_max,
                   min(r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_first_at,
                   first(r.reactive_energy_export_varh, r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_first,
                   max(r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_last_at,
                   last(r.reactive_energy_export_varh, r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_last,
                   min(r.reactive_energy_export_varh) AS r4_min, max(r.reactive_energy_export_varh) AS r4_max,
                   count(r.power_w)::integer AS power_w_count, min(r.power_w) AS power_w_min, max(r.power_w) AS power_w_max,
                   sum(r.power_w::double precision) AS power_w_sum,
                   count(r.voltage_l1_v)::integer AS voltage_l1_v_count, min(r.voltage_l1_v) AS voltage_l1_v_min, max(r.voltage_l1_v) AS voltage_l1_v_max,
                   sum(r.voltage_l1_v::double precision) AS voltage_l1_v_sum,
                   count(r.voltage_l2_v)::integer AS voltage_l2_v_count, min(r.voltage_l2_v) AS voltage_l2_v_min, max(r.voltage_l2_v) AS voltage_l2_v_max,
                   sum(r.voltage_l2_v::double precision) AS voltage_l2_v_sum,
                   count(r.voltage_l3_v)::integer AS voltage_l3_v_count, min(r.voltage_l3_v) AS voltage_l3_v_min, max(r.voltage_l3_v) AS voltage_l3_v_max,
                   sum(r.voltage_l3_v::double precision) AS voltage_l3_v_sum,
                   count(r.current_l1_a)::integer AS current_l1_a_count, min(r.current_l1_a) AS current_l1_a_min, max(r.current_l1_a) AS current_l1_a_max,
                   sum(r.current_l1_a::double precision) AS current_l1_a_sum,
                   count(r.current_l2_a)::integer AS current_l2_a_count, min(r.current_l2_a) AS current_l2_a_min, max(r.current_l2_a) AS current_l2_a_max,
                   sum(r.current_l2_a::double precision) AS current_l2_a_sum,
                   count(r.current_l3_a)::integer AS current_l3_a_count, min(r.current_l3_a) AS current_l3_a_min, max(r.current_l3_a) AS current_l3_a_max,
                   sum(r.current_l3_a::double precision) AS current_l3_a_sum,
                   count(r.frequency_hz)::integer AS frequency_hz_count, min(r.frequency_hz) AS frequency_hz_min, max(r.frequency_hz) AS frequency_hz_max,
                   sum(r.frequency_hz::double precision) AS frequency_hz_sum,
                   count(r.power_factor)::integer AS power_factor_count, min(r.power_factor) AS power_factor_min, max(r.power_factor) AS power_factor_max,
                   sum(r.power_factor::double precision) AS power_factor_sum
            FROM raw_readings AS r
            WHERE r.meter_id = span.meter_id AND r.time >= span.lo AND r.time < span.hi
              AND r.time >= v_first AND r.time < v_last
            GROUP BY 1
        ) AS raw
        LEFT JOIN device AS d ON d.meter_id = span.meter_id AND d.valid @> raw.bucket
    ), registers AS (
        INSERT INTO register_minutes AS old (meter_id, register, bucket, first_at, first_value, last_at, last_value, odd)
        SELECT m.meter_id, k.register, m.bucket, k.first_at, k.first_value, k.last_at, k.last_value,
               k.lowest <> k.first_value OR k.highest <> k.last_value
               OR k.last_value - k.first_value > register_allowance(COALESCE(m.max_power_w, 1e6), k.first_at, k.last_at)
        FROM minute AS m
        CROSS JOIN LATERAL (VALUES
            (1::smallint, m.r1_first_at, m.r1_first, m.r1_last_at, m.r1_last, m.r1_min, m.r1_max),
            (2::smallint, m.r2_first_at, m.r2_first, m.r2_last_at, m.r2_last, m.r2_min, m.r2_max),
            (3::smallint, m.r3_first_at, m.r3_first, m.r3_last_at, m.r3_last, m.r3_min, m.r3_max),
            (4::smallint, m.r4_first_at, m.r4_first, m.r4_last_at, m.r4_last, m.r4_min, m.r4_max)
        ) AS k (register, first_at, first_value, last_at, last_value, lowest, highest)
        WHERE k.first_at IS NOT NULL
        ON CONFLICT (meter_id, register, bucket) DO UPDATE
        SET first_at = EXCLUDED.first_at, first_value = EXCLUDED.first_value,
            last_at = EXCLUDED.last_at, last_value = EXCLUDED.last_value, odd = EXCLUDED.odd
        WHERE (old.first_at, old.first_value, old.last_at, old.last_value, old.odd)
              IS DISTINCT FROM (EXCLUDED.first_at, EXCLUDED.first_value, EXCLUDED.last_at, EXCLUDED.last_value, EXCLUDED.odd)
          AND (old.bucket >= v_horizon OR (EXCLUDED.first_at <= old.first_at AND EXCLUDED.last_at >= old.last_at))
    )
    INSERT INTO aggregates_1m AS old (
        meter_id, bucket, samples, coverage, quality,
        power_w_count, power_w_min, power_w_max, power_w_sum,
        voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
        voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
        voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
        current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
        current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
        current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
        frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
        power_factor_count, power_factor_min, power_factor_max, power_factor_sum
    )
    SELECT m.meter_id, m.bucket, m.samples, least(100, COALESCE(m.samples * (m.interval_ms / 600.0), 0)), 14,
           power_w_count, power_w_min, power_w_max, power_w_sum,
           voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
           voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
           voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
           current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
           current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
           current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
           frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
           power_factor_count, power_factor_min, power_factor_max, power_factor_sum
    FROM minute AS m
    ON CONFLICT (meter_id, bucket) DO UPDATE
    SET samples = EXCLUDED.samples, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        power_w_count = EXCLUDED.power_w_count, power_w_min = EXCLUDED.power_w_min,
        power_w_max = EXCLUDED.power_w_max, power_w_sum = EXCLUDED.power_w_sum,
        voltage_l1_v_count = EXCLUDED.voltage_l1_v_count, voltage_l1_v_min = EXCLUDED.voltage_l1_v_min,
        voltage_l1_v_max = EXCLUDED.voltage_l1_v_max, voltage_l1_v_sum = EXCLUDED.voltage_l1_v_sum,
        voltage_l2_v_count = EXCLUDED.voltage_l2_v_count, voltage_l2_v_min = EXCLUDED.voltage_l2_v_min,
        voltage_l2_v_max = EXCLUDED.voltage_l2_v_max, voltage_l2_v_sum = EXCLUDED.voltage_l2_v_sum,
        voltage_l3_v_count = EXCLUDED.voltage_l3_v_count, voltage_l3_v_min = EXCLUDED.voltage_l3_v_min,
        voltage_l3_v_max = EXCLUDED.voltage_l3_v_max, voltage_l3_v_sum = EXCLUDED.voltage_l3_v_sum,
        current_l1_a_count = EXCLUDED.current_l1_a_count, current_l1_a_min = EXCLUDED.current_l1_a_min,
        current_l1_a_max = EXCLUDED.current_l1_a_max, current_l1_a_sum = EXCLUDED.current_l1_a_sum,
        current_l2_a_count = EXCLUDED.current_l2_a_count, current_l2_a_min = EXCLUDED.current_l2_a_min,
        current_l2_a_max = EXCLUDED.current_l2_a_max, current_l2_a_sum = EXCLUDED.current_l2_a_sum,
        current_l3_a_count = EXCLUDED.current_l3_a_count, current_l3_a_min = EXCLUDED.current_l3_a_min,
        current_l3_a_max = EXCLUDED.current_l3_a_max, current_l3_a_sum = EXCLUDED.current_l3_a_sum,
        frequency_hz_count = EXCLUDED.frequency_hz_count, frequency_hz_min = EXCLUDED.frequency_hz_min,
        frequency_hz_max = EXCLUDED.frequency_hz_max, frequency_hz_sum = EXCLUDED.frequency_hz_sum,
        power_factor_count = EXCLUDED.power_factor_count, power_factor_min = EXCLUDED.power_factor_min,
        power_factor_max = EXCLUDED.power_factor_max, power_factor_sum = EXCLUDED.power_factor_sum,
        computed_at = EXCLUDED.computed_at
    -- Raw readings before the horizon may be gone: what is left of a minute never replaces what was computed of all of it.
    WHERE old.bucket >= v_horizon OR EXCLUDED.samples > old.samples;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION summarise_minutes(integer[], timestamptz[], timestamptz[], timestamptz) IS
    'Computes aggregates_1m, but for its energy, and register_minutes from raw_readings for the given spans (whole minutes, disjoint per meter); returns the minutes written';
GRANT EXECUTE ON FUNCTION summarise_minutes(integer[], timestamptz[], timestamptz[], timestamptz) TO segs_worker;

-- telemetry/functions/summarise_quarters.sql
-- Quarter-hours from minutes, by the additive rule: counts and sums add, minima and maxima compare, the worst quality stays.

CREATE OR REPLACE FUNCTION summarise_quarters(
    p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_horizon CONSTANT timestamptz := retention_horizon('aggregates_1m', p_now);
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t);
    v_written integer;
BEGIN
    INSERT INTO aggregates_15m AS old (
        meter_id, bucket, samples, coverage, quality,
        energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh,
        power_w_count, power_w_min, power_w_max, power_w_sum,
        voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
        voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
        voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
        current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
        current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
        current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
        frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
        power_factor_count, power_factor_min, power_factor_max, power_factor_sum
    )
    SELECT span.meter_id, quarter.*
    FROM unnest(p_meters, p_from, p_to) AS span (meter_id, lo, hi)
    CROSS JOIN LATERAL (
        SELECT time_bucket(INTERVAL '15 minutes', m.bucket) AS bucket, sum(m.samples)::integer AS samples,
               (sum(m.coverage::double precision) / 15)::real AS coverage, quality_of_rank(max(quality_rank(m.quality))) AS quality,
               sum(m.energy_import_wh)::bigint AS energy_import_wh,
               sum(m.energy_export_wh)::bigint AS energy_export_wh,
               sum(m.reactive_energy_import_varh)::bigint AS reactive_energy_import_varh,
               sum(m.reactive_energy_export_varh)::bigint AS reactive_energy_export_varh,
               sum(m.power_w_count)::integer AS power_w_count, min(m.power_w_min) AS power_w_min, max(m.power_w_max) AS power_w_max,
               sum(m.power_w_sum) AS power_w_sum,
               sum(m.voltage_l1_v_count)::integer AS voltage_l1_v_count, min(m.voltage_l1_v_min) AS voltage_l1_v_min, max(m.voltage_l1_v_max) AS voltage_l1_v_max,
               sum(m.voltage_l1_v_sum) AS voltage_l1_v_sum,
               sum(m.voltage_l2_v_count)::integer AS voltage_l2_v_count, min(m.voltage_l2_v_min) AS voltage_l2_v_min, max(m.voltage_l2_v_max) AS voltage_l2_v_max,
               sum(m.voltage_l2_v_sum) AS voltage_l2_v_sum,
               sum(m.voltage_l3_v_count)::integer AS voltage_l3_v_count, min(m.voltage_l3_v_min) AS voltage_l3_v_min, max(m.voltage_l3_v_max) AS voltage_l3_v_max,
               sum(m.voltage_l3_v_sum) AS voltage_l3_v_sum,
               sum(m.current_l1_a_count)::integer AS current_l1_a_count, min(m.current_l1_a_min) AS current_l1_a_min, max(m.current_l1_a_max) AS current_l1_a_max,
               sum(m.current_l1_a_sum) AS current_l1_a_sum,
               sum(m.current_l2_a_count)::integer AS current_l2_a_count, min(m.current_l2_a_min) AS current_l2_a_min, max(m.current_l2_a_max) AS current_l2_a_max,
               sum(m.current_l2_a_sum) AS current_l2_a_sum,
               sum(m.current_l3_a_count)::integer AS current_l3_a_count, min(m.current_l3_a_min) AS current_l3_a_min, max(m.current_l3_a_max) AS current_l3_a_max,
               sum(m.current_l3_a_sum) AS current_l3_a_sum,
               sum(m.frequency_hz_count)::integer AS frequency_hz_count, min(m.frequency_hz_min) AS frequency_hz_min, max(m.frequency_hz_max) AS frequency_hz_max,
               sum(m.frequency_hz_sum) AS frequency_hz_sum,
               sum(m.power_factor_count)::integer AS power_factor_count, min(m.power_factor_min) AS power_factor_min, max(m.power_factor_max) AS power_factor_max,
               sum(m.power_factor_sum) AS power_factor_sum
        FROM aggregates_1m AS m
        WHERE m.meter_id = span.meter_id AND m.bucket >= span.lo AND m.bucket < span.hi
          AND m.bucket >= v_first AND m.bucket < v_last
        GROUP BY 1
    ) AS quarter
    ON CONFLICT (meter_id, bucket) DO UPDATE
    SET samples = EXCLUDED.samples, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        energy_import_wh = EXCLUDED.energy_import_wh, energy_export_wh = EXCLUDED.energy_export_wh,
        reactive_energy_import_varh = EXCLUDED.reactive_energy_import_varh,
        reactive_energy_export_varh = EXCLUDED.reactive_energy_export_varh,
        power_w_count = EXCLUDED.power_w_count, power_w_min = EXCLUDED.power_w_min,
        power_w_max = EXCLUDED.power_w_max, power_w_sum = EXCLUDED.power_w_sum,
        voltage_l1_v_count = EXCLUDED.voltage_l1_v_count, voltage_l1_v_min = EXCLUDED.voltage_l1_v_min,
        voltage_l1_v_max = EXCLUDED.voltage_l1_v_max, voltage_l1_v_sum = EXCLUDED.voltage_l1_v_sum,
        voltage_l2_v_count = EXCLUDED.voltage_l2_v_count, voltage_l2_v_min = EXCLUDED.voltage_l2_v_min,
        voltage_l2_v_max = EXCLUDED.voltage_l2_v_max, voltage_l2_v_sum = EXCLUDED.voltage_l2_v_sum,
        voltage_l3_v_count = EXCLUDED.voltage_l3_v_count, voltage_l3_v_min = EXCLUDED.voltage_l3_v_min,
        voltage_l3_v_max = EXCLUDED.voltage_l3_v_max, voltage_l3_v_sum = EXCLUDED.voltage_l3_v_sum,
        current_l1_a_count = EXCLUDED.current_l1_a_count, current_l1_a_min = EXCLUDED.current_l1_a_min,
        current_l1_a_max = EXCLUDED.current_l1_a_max, current_l1_a_sum = EXCLUDED.current_l1_a_sum,
        current_l2_a_count = EXCLUDED.current_l2_a_count, current_l2_a_min = EXCLUDED.current_l2_a_min,
        current_l2_a_max = EXCLUDED.current_l2_a_max, current_l2_a_sum = EXCLUDED.current_l2_a_sum,
        current_l3_a_count = EXCLUDED.current_l3_a_count, current_l3_a_min = EXCLUDED.current_l3_a_min,
        current_l3_a_max = EXCLUDED.current_l3_a_max, current_l3_a_sum = EXCLUDED.current_l3_a_sum,
        frequency_hz_count = EXCLUDED.frequency_hz_count, frequency_hz_min = EXCLUDED.frequency_hz_min,
        frequency_hz_max = EXCLUDED.frequency_hz_max, frequency_hz_sum = EXCLUDED.frequency_hz_sum,
        power_factor_count = EXCLUDED.power_factor_count, power_factor_min = EXCLUDED.power_factor_min,
        power_factor_max = EXCLUDED.power_factor_max, power_factor_sum = EXCLUDED.power_factor_sum,
        computed_at = EXCLUDED.computed_at
    -- Minutes before the horizon may be gone: what is left of a quarter-hour never replaces what was computed of all of it.
    WHERE old.bucket >= v_horizon OR EXCLUDED.samples > old.samples;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION summarise_quarters(integer[], timestamptz[], timestamptz[], timestamptz) IS
    'Computes aggregates_15m from aggregates_1m for the given spans (whole quarter-hours, disjoint per meter); returns the quarter-hours written';
GRANT EXECUTE ON FUNCTION summarise_quarters(integer[], timestamptz[], timestamptz[], timestamptz) TO segs_worker;

-- telemetry/functions/book_energy.sql
-- Energy of a minute: what its registers moved by. Reads are turned into points in time order; between two of them that
-- are believed a register moves in a straight line and is rounded once at each boundary, so that minutes telescope: they
-- add up to the last read minus the first.
--
-- A minute whose reads only grow is told by its first and its last one. It is suspect when it is odd (register_minutes)
-- or when the step to a neighbour is one that a register does not make; then every read of it counts:
--   dip     lower than both neighbours, while the next read goes on from the one before: left out
--   spike   farther than the connection can carry, while the next read goes on from the one before: left out
--   other   a decrease or a jump: not believed, 0 energy, quality 10
-- How a read is taken depends on two reads on either side of it and no more; so new readings change at most the five
-- neighbouring minutes that have reads, and only one of them unless something is suspect.

CREATE OR REPLACE FUNCTION energy_spans(p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_reach integer)
RETURNS TABLE (meter_id integer, lo timestamptz, hi timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH span AS (
        SELECT s.meter_id, s.lo, s.hi FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
    ), reach AS (
        SELECT s.meter_id, s.lo, s.hi, before.bucket AS first_bucket, after.bucket AS last_bucket
        FROM span AS s
        CROSS JOIN unnest('{1,2,3,4}'::smallint[]) AS k (register)
        CROSS JOIN LATERAL (
            SELECT min(b.bucket) AS bucket
            FROM (SELECT m.bucket FROM register_minutes AS m
                  WHERE m.meter_id = s.meter_id AND m.register = k.register
                    AND m.bucket < s.lo AND m.bucket >= s.lo - INTERVAL '7 days'
                  ORDER BY m.bucket DESC LIMIT p_reach) AS b
        ) AS before
        CROSS JOIN LATERAL (
            SELECT max(a.bucket) AS bucket
            FROM (SELECT m.bucket FROM register_minutes AS m
                  WHERE m.meter_id = s.meter_id AND m.register = k.register
                    AND m.bucket >= s.hi AND m.bucket < s.hi + INTERVAL '7 days'
                  ORDER BY m.bucket LIMIT p_reach) AS a
        ) AS after
        WHERE EXISTS (SELECT FROM register_minutes AS m
                      WHERE m.meter_id = s.meter_id AND m.register = k.register AND m.bucket >= s.lo AND m.bucket < s.hi)
        UNION ALL
        SELECT s.meter_id, s.lo, s.hi, NULL, NULL FROM span AS s
    )
    SELECT spread.meter_id, lower(spread.part), upper(spread.part)
    FROM (
        SELECT r.meter_id, unnest(range_agg(tstzrange(least(r.lo, r.first_bucket),
                                                      greatest(r.hi, r.last_bucket + INTERVAL '1 minute')))) AS part
        FROM reach AS r GROUP BY r.meter_id
    ) AS spread;
END
$$;
COMMENT ON FUNCTION energy_spans(integer[], timestamptz[], timestamptz[], integer) IS
    'The given spans, widened to the p_reach nearest minutes with a read, on either side, of each register that was read in them; disjoint per meter';

CREATE OR REPLACE FUNCTION book_energy(
    p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_reach integer, p_now timestamptz
) RETURNS integer[]
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_minute CONSTANT interval := INTERVAL '1 minute';
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    -- Chunks that a mark kept beyond the horizon are whole: what waited for a worker that long is booked as ever.
    v_kept CONSTANT tstzmultirange := (
        SELECT range_agg(k.part)
        FROM (SELECT tstzrange(v_horizon, NULL) AS part
              UNION ALL
              SELECT tstzrange(c.range_start, c.range_end) FROM timescaledb_information.chunks AS c
              WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'raw_readings' AND c.range_start < v_horizon
                AND (SELECT min(t) FROM unnest(p_from) AS t) < v_horizon
             ) AS k
    );
    v_first CONSTANT timestamptz := (SELECT min(t) - INTERVAL '7 days' FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) + INTERVAL '7 days' FROM unnest(p_to) AS t);
    v_suspects integer[];
BEGIN
    WITH span AS (
        SELECT s.meter_id, s.lo, s.hi FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
    ), device AS MATERIALIZED (
        SELECT d.meter_id, d.valid, d.interval_ms, d.max_power_w FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), minute AS (
        SELECT s.meter_id, s.lo, s.hi, k.register, m.bucket, m.first_at, m.first_value, m.last_at, m.last_value, m.odd,
               COALESCE(d.max_power_w, 1e6) AS max_power_w, COALESCE(d.interval_ms, 60000) AS interval_ms
        FROM span AS s
        CROSS JOIN unnest('{1,2,3,4}'::smallint[]) AS k (register)
        CROSS JOIN LATERAL (
            (SELECT r.* FROM register_minutes AS r
             WHERE r.meter_id = s.meter_id AND r.register = k.register AND r.bucket >= v_first
               AND r.bucket < s.lo AND r.bucket >= s.lo - INTERVAL '7 days'
             ORDER BY r.bucket DESC LIMIT p_reach)
            UNION ALL
            (SELECT r.* FROM register_minutes AS r
             WHERE r.meter_id = s.meter_id AND r.register = k.register AND r.bucket >= v_first AND r.bucket < v_last
               AND r.bucket >= s.lo AND r.bucket < s.hi)
            UNION ALL
            (SELECT r.* FROM register_minutes AS r
             WHERE r.meter_id = s.meter_id AND r.register = k.register AND r.bucket < v_last
               AND r.bucket >= s.hi AND r.bucket < s.hi + INTERVAL '7 days'
             ORDER BY r.bucket LIMIT p_reach)
        ) AS m
        LEFT JOIN device AS d ON d.meter_id = s.meter_id AND d.valid @> m.bucket
    ), step AS (
        SELECT m.*, COALESCE(m.first_value - lag(m.last_value) OVER w
                             NOT BETWEEN 0 AND register_allowance(m.max_power_w, lag(m.last_at) OVER w, m.first_at), false) AS jump
        FROM minute AS m
        WINDOW w AS (PARTITION BY m.meter_id, m.lo, m.register ORDER BY m.bucket)
    ), told AS MATERIALIZED (
        SELECT s.*, s.odd OR s.jump OR lead(s.jump, 1, false) OVER (PARTITION BY s.meter_id, s.lo, s.register ORDER BY s.bucket) AS suspect
        FROM step AS s
    ), later AS MATERIALIZED (
        SELECT DISTINCT t.meter_id FROM told AS t WHERE t.suspect AND p_reach = 1
    ), point AS (
        SELECT t.meter_id, t.lo, t.hi, t.register, t.max_power_w, t.interval_ms, p.at, p.value
        FROM told AS t
        CROSS JOIN LATERAL (
            SELECT t.first_at AS at, t.first_value AS value
            UNION ALL
            SELECT t.last_at, t.last_value WHERE t.last_at > t.first_at
        ) AS p
        WHERE t.meter_id NOT IN (SELECT l.meter_id FROM later AS l)
        UNION ALL
        SELECT t.meter_id, t.lo, t.hi, t.register, t.max_power_w, t.interval_ms, r.at, r.value
        FROM told AS t
        CROSS JOIN LATERAL (
            SELECT w.time AS at, CASE t.register WHEN 1 THEN w.energy_import_wh WHEN 2 THEN w.energy_export_wh
                                                 WHEN 3 THEN w.reactive_energy_import_varh ELSE w.reactive_energy_export_varh END AS value
            FROM raw_readings AS w
            WHERE w.meter_id = t.meter_id AND w.time > t.first_at AND w.time < t.last_at AND w.time >= v_first AND w.time < v_last
        ) AS r
        WHERE t.suspect AND p_reach > 1 AND r.value IS NOT NULL
    ), between_neighbours AS (
        SELECT p.*, lag(p.at) OVER w AS before_at, lag(p.value) OVER w AS before, lead(p.at) OVER w AS after_at, lead(p.value) OVER w AS after
        FROM point AS p
        WINDOW w AS (PARTITION BY p.meter_id, p.lo, p.register ORDER BY p.at)
    ), dipped AS (
        SELECT n.*, COALESCE(n.value < n.before AND n.value < n.after
                             AND n.after - n.before BETWEEN 0 AND register_allowance(n.max_power_w, n.before_at, n.after_at), false) AS dip
        FROM between_neighbours AS n
    ), left_out AS MATERIALIZED (
        SELECT d.*, d.dip OR COALESCE(
                   d.value - d.before > register_allowance(d.max_power_w, d.before_at, d.at) AND d.value > d.after
                   AND d.after - d.before BETWEEN 0 AND register_allowance(d.max_power_w, d.before_at, d.after_at)
                   AND NOT lag(d.dip, 1, false) OVER w AND NOT lead(d.dip, 1, false) OVER w, false) AS out
        FROM dipped AS d
        WINDOW w AS (PARTITION BY d.meter_id, d.lo, d.register ORDER BY d.at)
    ), pair AS (
        SELECT l.meter_id, l.lo, l.hi, l.register, l.max_power_w, l.interval_ms, l.at, l.value,
               lead(l.at) OVER w AS to_at, lead(l.value) OVER w - l.value AS moved
        FROM left_out AS l WHERE NOT l.out
        WINDOW w AS (PARTITION BY l.meter_id, l.lo, l.register ORDER BY l.at)
    ), way AS MATERIALIZED (
        SELECT p.*, time_bucket(v_minute, p.at) AS from_bucket,
               CASE WHEN p.to_at < p.at + INTERVAL '7 days' THEN time_bucket(v_minute, p.to_at) END AS to_bucket,
               p.moved BETWEEN 0 AND register_allowance(p.max_power_w, p.at, p.to_at) AS believed,
               p.to_at - p.at > p.interval_ms * INTERVAL '2.5 milliseconds' AS gap
        FROM pair AS p
    ), part AS (
        -- what moved in the minute of the read itself
        SELECT w.meter_id, w.lo, w.hi, w.register, w.from_bucket AS bucket, NULL::real AS coverage,
               CASE WHEN w.to_bucket IS NULL OR NOT w.believed THEN 0
                    WHEN w.to_bucket = w.from_bucket THEN w.moved
                    ELSE register_share(w.moved, w.at, w.from_bucket + v_minute, w.to_at) END AS moved,
               CASE WHEN w.to_bucket IS NULL THEN 14
                    WHEN NOT w.believed THEN 10
                    WHEN w.gap AND w.to_bucket > w.from_bucket AND w.to_at > w.from_bucket + v_minute THEN 9
                    ELSE 14 END AS quality
        FROM way AS w
        UNION ALL
        -- up to the next read, in that one's minute
        SELECT w.meter_id, w.lo, w.hi, w.register, w.to_bucket, NULL,
               CASE WHEN w.believed THEN w.moved - register_share(w.moved, w.at, w.to_bucket, w.to_at) ELSE 0 END,
               CASE WHEN NOT w.believed THEN 10 WHEN w.gap AND w.to_at > w.to_bucket THEN 9 ELSE 14 END
        FROM way AS w WHERE w.to_bucket > w.from_bucket
        UNION ALL
        -- in the minutes between, which have no read
        SELECT w.meter_id, w.lo, w.hi, w.register, b.bucket,
               CASE WHEN w.believed AND NOT w.gap AND w.interval_ms >= 30000 THEN 100 ELSE 0 END,
               CASE WHEN w.believed THEN register_share(w.moved, w.at, b.bucket + v_minute, w.to_at)
                                         - register_share(w.moved, w.at, b.bucket, w.to_at) ELSE 0 END,
               CASE WHEN NOT w.believed THEN 10 WHEN w.gap OR w.interval_ms < 30000 THEN 9 ELSE 14 END
        FROM way AS w
        CROSS JOIN LATERAL generate_series(greatest(w.from_bucket + v_minute, w.lo),
                                           least(w.to_bucket, w.hi) - v_minute, v_minute) AS b (bucket)
        WHERE w.to_bucket > w.from_bucket + v_minute
        UNION ALL
        SELECT l.meter_id, l.lo, l.hi, l.register, time_bucket(v_minute, l.at), NULL, 0, 10 FROM left_out AS l WHERE l.out
    ), booked AS (
        INSERT INTO aggregates_1m AS old (meter_id, bucket, samples, coverage, quality,
            energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh)
        SELECT p.meter_id, p.bucket, 0, COALESCE(min(p.coverage), 0), quality_of_rank(max(quality_rank(p.quality::smallint))),
               sum(p.moved) FILTER (WHERE p.register = 1)::bigint, sum(p.moved) FILTER (WHERE p.register = 2)::bigint,
               sum(p.moved) FILTER (WHERE p.register = 3)::bigint, sum(p.moved) FILTER (WHERE p.register = 4)::bigint
        FROM part AS p
        WHERE p.bucket >= p.lo AND p.bucket < p.hi
        GROUP BY p.meter_id, p.bucket
        ON CONFLICT (meter_id, bucket) DO UPDATE
        SET energy_import_wh = EXCLUDED.energy_import_wh, energy_export_wh = EXCLUDED.energy_export_wh,
            reactive_energy_import_varh = EXCLUDED.reactive_energy_import_varh,
            reactive_energy_export_varh = EXCLUDED.reactive_energy_export_varh,
            coverage = CASE WHEN old.samples = 0 THEN EXCLUDED.coverage ELSE old.coverage END,
            quality = EXCLUDED.quality, computed_at = EXCLUDED.computed_at
        WHERE old.bucket <@ v_kept
          AND (old.energy_import_wh, old.energy_export_wh, old.reactive_energy_import_varh, old.reactive_energy_export_varh, old.quality)
              IS DISTINCT FROM (EXCLUDED.energy_import_wh, EXCLUDED.energy_export_wh, EXCLUDED.reactive_energy_import_varh,
                                EXCLUDED.reactive_energy_export_varh, EXCLUDED.quality)
    )
    SELECT array_agg(l.meter_id) INTO v_suspects FROM later AS l;
    RETURN v_suspects;
END
$$;
COMMENT ON FUNCTION book_energy(integer[], timestamptz[], timestamptz[], integer, timestamptz) IS
    'Books the energy of the minutes in the given spans (from energy_spans, with the same p_reach). With p_reach 1 it leaves out meters that have something suspect there, and returns them; with 5 it books all';
GRANT EXECUTE ON FUNCTION energy_spans(integer[], timestamptz[], timestamptz[], integer) TO segs_worker;
GRANT EXECUTE ON FUNCTION book_energy(integer[], timestamptz[], timestamptz[], integer, timestamptz) TO segs_worker;

-- telemetry/functions/aggregate_readings.sql
-- One claim: marks out of the queue, minutes and quarter-hours recomputed, regions marked; all of it or nothing.
-- Locks come before the statement that reads raw readings, and each statement has a snapshot of its own (READ COMMITTED):
-- whoever waits for a meter sees what the one before him has written.

CREATE OR REPLACE FUNCTION aggregate_readings(
    p_limit integer DEFAULT 200, p_now timestamptz DEFAULT clock_timestamp(),
    OUT marks integer, OUT minutes integer, OUT quarters integer
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_lock CONSTANT integer := hashtext('segs.aggregate');
    v_group integer;
    v_meters integer[];
    v_from timestamptz[];
    v_to timestamptz[];
    v_wide_meters integer[];
    v_wide_from timestamptz[];
    v_wide_to timestamptz[];
    v_suspects integer[];
BEGIN
    minutes := 0;
    quarters := 0;
    WITH claimed AS (
        DELETE FROM dirty_readings WHERE dirty_id IN (
            SELECT dirty_id FROM dirty_readings ORDER BY dirty_id LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING meter_id, first_time, last_time
    ), merged AS (
        SELECT c.meter_id, count(*) AS marks,
               range_agg(tstzrange(time_bucket(INTERVAL '1 minute', c.first_time),
                                   time_bucket(INTERVAL '1 minute', c.last_time) + INTERVAL '1 minute')) AS spans
        FROM claimed AS c GROUP BY c.meter_id
    ), span AS (
        SELECT m.meter_id, unnest(m.spans) AS part FROM merged AS m
    )
    SELECT (SELECT COALESCE(sum(m.marks), 0) FROM merged AS m),
           array_agg(s.meter_id ORDER BY s.meter_id, s.part), array_agg(lower(s.part) ORDER BY s.meter_id, s.part),
           array_agg(upper(s.part) ORDER BY s.meter_id, s.part)
    INTO marks, v_meters, v_from, v_to
    FROM span AS s;
    IF marks = 0 THEN
        RETURN;
    END IF;

    FOR v_group IN SELECT DISTINCT abs(m % 64) AS meter_group FROM unnest(v_meters) AS m ORDER BY meter_group LOOP
        PERFORM pg_advisory_xact_lock(v_lock, v_group);
    END LOOP;

    minutes := summarise_minutes(v_meters, v_from, v_to, p_now);

    SELECT array_agg(e.meter_id), array_agg(e.lo), array_agg(e.hi) INTO v_wide_meters, v_wide_from, v_wide_to
    FROM energy_spans(v_meters, v_from, v_to, 1) AS e;
    v_suspects := book_energy(v_wide_meters, v_wide_from, v_wide_to, 1, p_now);
    IF v_suspects IS NOT NULL THEN
        WITH wide AS (
            SELECT e.* FROM energy_spans(v_meters, v_from, v_to, 5) AS e WHERE e.meter_id = ANY (v_suspects)
            UNION ALL
            SELECT n.* FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS n (meter_id, lo, hi) WHERE n.meter_id <> ALL (v_suspects)
        )
        SELECT array_agg(w.meter_id), array_agg(w.lo), array_agg(w.hi) INTO v_wide_meters, v_wide_from, v_wide_to FROM wide AS w;
        PERFORM book_energy(array_agg(w.meter_id), array_agg(w.lo), array_agg(w.hi), 5, p_now)
        FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS w (meter_id, lo, hi) WHERE w.meter_id = ANY (v_suspects);
    END IF;

    WITH merged AS (
        SELECT w.meter_id, unnest(range_agg(tstzrange(time_bucket(INTERVAL '15 minutes', w.lo),
                   time_bucket(INTERVAL '15 minutes', w.hi - INTERVAL '1 microsecond') + INTERVAL '15 minutes'))) AS part
        FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS w (meter_id, lo, hi) GROUP BY w.meter_id
    )
    SELECT array_agg(m.meter_id), array_agg(lower(m.part)), array_agg(upper(m.part)) INTO v_wide_meters, v_wide_from, v_wide_to
    FROM merged AS m;
    quarters := summarise_quarters(v_wide_meters, v_wide_from, v_wide_to, p_now);

    INSERT INTO dirty_regions (region, bucket)
    SELECT DISTINCT d.region, b.bucket
    FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS w (meter_id, lo, hi)
    CROSS JOIN LATERAL generate_series(w.lo, w.hi - INTERVAL '15 minutes', INTERVAL '15 minutes') AS b (bucket)
    JOIN device_registry AS d ON d.meter_id = w.meter_id AND d.valid @> b.bucket;
END
$$;
COMMENT ON FUNCTION aggregate_readings(integer, timestamptz) IS
    'Takes up to p_limit marks from dirty_readings, computes what they touch; returns the marks taken, the minutes and quarter-hours computed. p_now decides what may be gone by retention';
GRANT EXECUTE ON FUNCTION aggregate_readings(integer, timestamptz) TO segs_worker;

-- telemetry/functions/aggregate_regions.sql
-- Quarter-hours of regions from aggregates_15m: the meters that belonged to the region when the quarter-hour began.

CREATE OR REPLACE FUNCTION aggregate_regions(
    p_limit integer DEFAULT 1000, OUT marks integer, OUT quarters integer
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_lock CONSTANT integer := hashtext('segs.aggregate_regions');
    v_group integer;
    v_regions text[];
    v_buckets timestamptz[];
BEGIN
    quarters := 0;
    WITH claimed AS (
        DELETE FROM dirty_regions WHERE dirty_id IN (
            SELECT dirty_id FROM dirty_regions ORDER BY dirty_id LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING region, bucket
    ), once AS (
        SELECT DISTINCT c.region, c.bucket FROM claimed AS c
    )
    SELECT (SELECT count(*) FROM claimed), array_agg(o.region ORDER BY o.region, o.bucket), array_agg(o.bucket ORDER BY o.region, o.bucket)
    INTO marks, v_regions, v_buckets
    FROM once AS o;
    IF marks = 0 THEN
        RETURN;
    END IF;

    FOR v_group IN SELECT DISTINCT hashtext(r) & 63 AS region_group FROM unnest(v_regions) AS r ORDER BY region_group LOOP
        PERFORM pg_advisory_xact_lock(v_lock, v_group);
    END LOOP;

    INSERT INTO regional_15m AS old (region, bucket, meters, meters_expected, energy_import_wh, energy_export_wh,
        power_w_mean, capacity_w, load_percent, coverage, quality)
    SELECT w.region, w.bucket, m.meters, m.meters_expected, m.energy_import_wh, m.energy_export_wh,
           m.power_w_mean, r.capacity_w, 100 * m.power_w_mean / r.capacity_w, m.coverage, m.quality
    FROM unnest(v_regions, v_buckets) AS w (region, bucket)
    JOIN region_registry AS r ON r.region = w.region
    CROSS JOIN LATERAL (
        SELECT count(a.meter_id)::integer AS meters, count(*)::integer AS meters_expected,
               sum(a.energy_import_wh)::bigint AS energy_import_wh, sum(a.energy_export_wh)::bigint AS energy_export_wh,
               sum(a.power_w_sum / nullif(a.power_w_count, 0) ORDER BY d.meter_id) AS power_w_mean,
               least(100, sum(COALESCE(a.coverage, 0)::double precision ORDER BY d.meter_id) / count(*))::real AS coverage,
               quality_of_rank(max(quality_rank(a.quality))) AS quality
        FROM device_registry AS d
        LEFT JOIN aggregates_15m AS a ON a.meter_id = d.meter_id AND a.bucket = w.bucket
        WHERE d.region = w.region AND d.valid @> w.bucket
    ) AS m
    WHERE m.meters > 0
    ON CONFLICT (region, bucket) DO UPDATE
    SET meters = EXCLUDED.meters, meters_expected = EXCLUDED.meters_expected, energy_import_wh = EXCLUDED.energy_import_wh,
        energy_export_wh = EXCLUDED.energy_export_wh, power_w_mean = EXCLUDED.power_w_mean, capacity_w = EXCLUDED.capacity_w,
        load_percent = EXCLUDED.load_percent, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        computed_at = EXCLUDED.computed_at;
    GET DIAGNOSTICS quarters = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION aggregate_regions(integer) IS
    'Takes up to p_limit marks from dirty_regions and sums those quarter-hours; returns the marks taken and the quarter-hours computed';
GRANT EXECUTE ON FUNCTION aggregate_regions(integer) TO segs_worker;

-- telemetry/views/cagg_1m.sql
-- Minutes a second time, straight from raw readings and by other code than aggregates_1m: the reconciliation compares the
-- two. Community: a continuous aggregate. Apache: an ordinary view of the same shape.

DO $$
DECLARE
    v_query CONSTANT text := $query$
        SELECT meter_id,
               time_bucket(INTERVAL '1 minute', time) AS bucket,
               count(*) AS samples,
               count(power_w) AS power_w_count,
               min(power_w) AS power_w_min,
               max(power_w) AS power_w_max,
               sum(power_w::double precision) AS power_w_sum,
               first(energy_import_wh, time) FILTER (WHERE energy_import_wh IS NOT NULL) AS energy_import_wh_first,
               last(energy_import_wh, time) FILTER (WHERE energy_import_wh IS NOT NULL) AS energy_import_wh_last
        FROM public.raw_readings
        GROUP BY 1, 2
    $query$;
    v_found text;
BEGIN
    SELECT c.view_definition INTO v_found FROM timescaledb_information.continuous_aggregates AS c
    WHERE c.view_schema = 'public' AND c.view_name = 'cagg_1m';
    EXECUTE 'CREATE TEMPORARY VIEW wanted_cagg_1m AS ' || v_query;
    -- Continuous aggregates know no CREATE OR REPLACE. One of another query makes room first, as does what the other edition
    -- left: without its licence the trigger of one on raw_readings would refuse every reading.
    IF v_found IS NULL AND is_community() THEN
        DROP VIEW IF EXISTS public.cagg_1m;
    ELSIF v_found <> pg_get_viewdef('pg_temp.wanted_cagg_1m'::regclass) OR NOT is_community() AND v_found IS NOT NULL THEN
        DROP MATERIALIZED VIEW public.cagg_1m;
    END IF;
    DROP VIEW pg_temp.wanted_cagg_1m;
    IF NOT is_community() THEN
        EXECUTE 'CREATE OR REPLACE VIEW public.cagg_1m AS ' || v_query;
    ELSIF to_regclass('public.cagg_1m') IS NULL THEN
        EXECUTE 'CREATE MATERIALIZED VIEW public.cagg_1m'
                ' WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS ' || v_query || ' WITH NO DATA';
    END IF;
END
$$;
COMMENT ON VIEW cagg_1m IS 'Minutes computed straight from raw_readings, an independent check of aggregates_1m';
COMMENT ON COLUMN cagg_1m.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN cagg_1m.bucket IS 'Start of the minute, UTC; the bucket is half-open';
COMMENT ON COLUMN cagg_1m.samples IS 'Raw readings in the minute';
COMMENT ON COLUMN cagg_1m.power_w_count IS 'Readings that had power_w';
COMMENT ON COLUMN cagg_1m.power_w_min IS 'Lowest power_w, W';
COMMENT ON COLUMN cagg_1m.power_w_max IS 'Highest power_w, W';
COMMENT ON COLUMN cagg_1m.power_w_sum IS 'Sum of power_w, W';
COMMENT ON COLUMN cagg_1m.energy_import_wh_first IS 'First read of the import register in the minute, Wh';
COMMENT ON COLUMN cagg_1m.energy_import_wh_last IS 'Last read of the import register in the minute, Wh';
GRANT SELECT ON cagg_1m TO segs_worker, segs_api, segs_readonly;

-- telemetry/functions/reconcile_minutes.sql
-- Compares what two different pieces of SQL say of the same minutes. A minute with a mark in the queue is not settled. All
-- of it is one statement, so one snapshot: readings and their mark are committed together, and so are a computed minute
-- and the deletion of its mark.

CREATE OR REPLACE FUNCTION reconcile_minutes(
    p_from timestamptz, p_to timestamptz, p_now timestamptz, p_limit integer DEFAULT 1000,
    OUT minutes bigint, OUT mismatches bigint
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_from CONSTANT timestamptz := greatest(time_bucket(INTERVAL '1 minute', p_from), p_now - INTERVAL '5 days');
    v_to CONSTANT timestamptz := least(time_bucket(INTERVAL '1 minute', p_to), time_bucket(INTERVAL '1 minute', p_now));
BEGIN
    WITH expected AS MATERIALIZED (
        -- Meter by meter: the index of raw readings begins with the meter, and a window is far smaller than a chunk.
        SELECT c.* FROM (SELECT DISTINCT r.meter_id FROM device_registry AS r) AS meter
        CROSS JOIN LATERAL (SELECT * FROM cagg_1m AS m
                            WHERE m.meter_id = meter.meter_id AND m.bucket >= v_from AND m.bucket < v_to) AS c
        WHERE NOT EXISTS (SELECT FROM dirty_readings AS d
                          WHERE d.meter_id = c.meter_id AND d.first_time < c.bucket + INTERVAL '1 minute' AND d.last_time >= c.bucket)
    ), different AS MATERIALIZED (
        SELECT e.meter_id, e.bucket,
               jsonb_build_object('samples', e.samples, 'power_w_count', e.power_w_count, 'power_w_min', e.power_w_min,
                                  'power_w_max', e.power_w_max, 'power_w_sum', e.power_w_sum,
                                  'energy_import_wh_first', e.energy_import_wh_first,
                                  'energy_import_wh_last', e.energy_import_wh_last) AS expected,
               CASE WHEN a.meter_id IS NOT NULL THEN
               jsonb_build_object('samples', a.samples, 'power_w_count', a.power_w_count, 'power_w_min', a.power_w_min,
                                  'power_w_max', a.power_w_max, 'power_w_sum', a.power_w_sum,
                                  'energy_import_wh_first', r.first_value, 'energy_import_wh_last', r.last_value) END AS found,
               e.samples, e.power_w_count, e.energy_import_wh_first, e.energy_import_wh_last
        FROM expected AS e
        LEFT JOIN aggregates_1m AS a ON a.meter_id = e.meter_id AND a.bucket = e.bucket AND a.bucket >= v_from AND a.bucket < v_to
        LEFT JOIN register_minutes AS r ON r.meter_id = e.meter_id AND r.register = 1 AND r.bucket = e.bucket
                                           AND r.bucket >= v_from AND r.bucket < v_to
        WHERE (e.samples, e.power_w_count, e.power_w_min, e.power_w_max, e.energy_import_wh_first, e.energy_import_wh_last)
              IS DISTINCT FROM (a.samples::bigint, a.power_w_count::bigint, a.power_w_min, a.power_w_max, r.first_value, r.last_value)
           -- Sums of the same numbers in another order differ in their last digits.
           OR abs(e.power_w_sum - COALESCE(a.power_w_sum, 'infinity')) > 1e-9 * greatest(1, abs(e.power_w_sum))
        ORDER BY e.bucket, e.meter_id
        LIMIT p_limit
    ), confirmed AS (
        -- A continuous aggregate learns of late readings, and of columns that come late, only at its next refresh: raw readings
        -- have the last word.
        SELECT d.meter_id, d.bucket, d.expected, d.found
        FROM different AS d
        CROSS JOIN LATERAL (
            SELECT count(*) AS samples, count(w.power_w) AS power_w_count,
                   first(w.energy_import_wh, w.time) FILTER (WHERE w.energy_import_wh IS NOT NULL) AS energy_import_wh_first,
                   last(w.energy_import_wh, w.time) FILTER (WHERE w.energy_import_wh IS NOT NULL) AS energy_import_wh_last
            FROM raw_readings AS w
            WHERE w.meter_id = d.meter_id AND w.time >= d.bucket AND w.time < d.bucket + INTERVAL '1 minute'
              AND w.time >= v_from AND w.time < v_to
        ) AS raw
        WHERE NOT is_community()
           OR (raw.samples, raw.power_w_count, raw.energy_import_wh_first, raw.energy_import_wh_last)
              IS NOT DISTINCT FROM (d.samples, d.power_w_count, d.energy_import_wh_first, d.energy_import_wh_last)
    ), kept AS (
        INSERT INTO aggregate_mismatches (meter_id, bucket, expected, found, found_at)
        SELECT c.meter_id, c.bucket, c.expected, c.found, p_now FROM confirmed AS c
        RETURNING meter_id, bucket
    ), marked AS (
        INSERT INTO dirty_readings (meter_id, first_time, last_time)
        SELECT k.meter_id, k.bucket, k.bucket + INTERVAL '59.999999 seconds' FROM kept AS k
    )
    SELECT (SELECT count(*) FROM expected), (SELECT count(*) FROM kept) INTO minutes, mismatches;
END
$$;
COMMENT ON FUNCTION reconcile_minutes(timestamptz, timestamptz, timestamptz, integer) IS
    'Compares the whole minutes of p_from to p_to that are settled, at most 5 days old; keeps up to p_limit differences in aggregate_mismatches and marks them to be computed again. Returns the minutes compared and the differences';
GRANT EXECUTE ON FUNCTION reconcile_minutes(timestamptz, timestamptz, timestamptz, integer) TO segs_worker;

-- telemetry/functions/claim_periodic_work.sql
-- Call it in the transaction that does the work: a rollback gives the claim back.

CREATE OR REPLACE FUNCTION claim_periodic_work(p_kind text, p_every interval, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO periodic_work (kind, done_at) VALUES (p_kind, '-infinity') ON CONFLICT (kind) DO NOTHING;
    UPDATE periodic_work SET done_at = p_now
    WHERE kind = (SELECT w.kind FROM periodic_work AS w
                  WHERE w.kind = p_kind AND w.done_at <= p_now - p_every FOR UPDATE SKIP LOCKED);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION claim_periodic_work(text, interval, timestamptz) IS
    'Whether the caller shall do the work now: it was not done within p_every before p_now, and nobody else is doing it';
GRANT EXECUTE ON FUNCTION claim_periodic_work(text, interval, timestamptz) TO segs_worker;

-- telemetry/functions/drop_expired_chunks.sql
-- Retention by the workers. Few chunks per transaction: each takes locks that are kept to its end. A chunk that is computed
-- from stays as long as a mark still waits for it. A policy of TimescaleDB's would not wait, so on Community too the workers
-- drop these.

CREATE OR REPLACE FUNCTION drop_expired_chunks(p_limit integer, p_now timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_chunk record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('segs.retention', 0)) THEN
        RETURN;
    END IF;
    FOR v_chunk IN
        SELECT c.hypertable_name, c.range_start, c.range_end
        FROM timescaledb_information.chunks AS c
        JOIN retention_periods() AS p ON p.hypertable = c.hypertable_name
        WHERE c.hypertable_schema = 'public' AND c.range_end <= p_now - p.keep
          AND CASE WHEN c.hypertable_name IN ('raw_readings', 'register_minutes')
                   THEN NOT EXISTS (SELECT FROM dirty_readings AS d
                                    WHERE d.last_time >= c.range_start AND d.first_time < c.range_end)
                        AND NOT EXISTS (SELECT FROM failed_marks AS f
                                        WHERE f.meter_id IS NOT NULL AND f.last_time >= c.range_start
                                          AND f.first_time < c.range_end)
                   ELSE NOT is_community() END
        ORDER BY c.range_start, c.hypertable_name
        LIMIT p_limit
    LOOP
        RETURN QUERY SELECT drop_chunks(v_chunk.hypertable_name::regclass, older_than => v_chunk.range_end,
                                        newer_than => v_chunk.range_start);
    END LOOP;
END
$$;
COMMENT ON FUNCTION drop_expired_chunks(integer, timestamptz) IS
    'Drops up to p_limit chunks that are older than retention_periods at p_now, oldest first, and returns their names. Nothing while another worker is at it; on the Community edition only raw_readings and register_minutes, policies do the rest';
GRANT EXECUTE ON FUNCTION drop_expired_chunks(integer, timestamptz) TO segs_worker;

-- telemetry/functions/create_chunks_ahead.sql
-- The first row of a new chunk makes every other writer wait for its commit. So the next chunk is made before it is
-- needed, in a short transaction of its own: by a row that is deleted again at once (creating one by name is Community).

CREATE OR REPLACE FUNCTION create_chunks_ahead(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_made integer := 0;
    v_table record;
    v_at timestamptz;
BEGIN
    FOR v_table IN
        SELECT d.hypertable_name, d.column_name, d.time_interval, row_of.columns, row_of.constants
        FROM timescaledb_information.dimensions AS d
        JOIN (VALUES ('raw_readings', 'meter_id, batch_id', '0, 0'),
                     ('register_minutes', 'meter_id, register, first_at, first_value, last_at, last_value, odd',
                      '0, 1, ''-infinity'', 0, ''-infinity'', 0, false'),
                     ('aggregates_1m', 'meter_id, samples, coverage, quality', '0, 0, 0, 14'),
                     ('aggregates_15m', 'meter_id, samples, coverage, quality', '0, 0, 0, 14'),
                     ('regional_15m', 'region, meters, meters_expected, coverage, quality', ''''', 0, 0, 0, 14')
             ) AS row_of (hypertable, columns, constants) ON row_of.hypertable = d.hypertable_name
        WHERE d.hypertable_schema = 'public'
        ORDER BY d.hypertable_name
    LOOP
        v_at := p_now + v_table.time_interval;
        CONTINUE WHEN EXISTS (SELECT FROM timescaledb_information.chunks AS c
                              WHERE c.hypertable_schema = 'public' AND c.hypertable_name = v_table.hypertable_name
                                AND c.range_start <= v_at AND c.range_end > v_at);
        EXECUTE format('INSERT INTO %1$I (%2$I, %3$s) VALUES (%5$L, %4$s)',
                       v_table.hypertable_name, v_table.column_name, v_table.columns, v_table.constants, v_at);
        EXECUTE format('DELETE FROM %1$I WHERE %2$I = %3$L AND %4$s',
                       v_table.hypertable_name, v_table.column_name, v_at,
                       CASE v_table.hypertable_name WHEN 'regional_15m' THEN 'region = ''''' ELSE 'meter_id = 0' END);
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION create_chunks_ahead(timestamptz) IS
    'Makes the chunk after the present one of every hypertable that lacks it; returns how many were made';
GRANT EXECUTE ON FUNCTION create_chunks_ahead(timestamptz) TO segs_worker;

-- telemetry/functions/completeness.sql
-- What came of what was expected: per gateway stream by its sequence numbers, per meter by its interval.

CREATE OR REPLACE FUNCTION stream_completeness(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (gateway text, stream uuid, first_seq bigint, last_seq bigint, batches bigint, readings bigint, stored bigint,
               duplicates bigint, quarantined bigint, missing_batches bigint, missing jsonb)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH came AS (
        SELECT b.gateway_id, b.stream, min(b.seq) AS first_seq, max(b.seq) AS last_seq, count(*) AS batches,
               sum(b.readings)::bigint AS readings, sum(b.stored)::bigint AS stored, sum(b.duplicates)::bigint AS duplicates,
               sum((SELECT COALESCE(sum((q ->> 'readings')::bigint), 0) FROM jsonb_array_elements(b.quarantined) AS q))::bigint AS quarantined
        FROM ingest_batches AS b
        WHERE b.received_at >= p_from AND b.received_at < p_to
        GROUP BY b.gateway_id, b.stream
    )
    SELECT g.name, c.stream, c.first_seq, c.last_seq, c.batches, c.readings, c.stored, c.duplicates, c.quarantined,
           COALESCE(hole.batches, 0)::bigint, COALESCE(hole.ranges, '[]')
    FROM came AS c
    JOIN gateway_registry AS g ON g.gateway_id = c.gateway_id
    CROSS JOIN LATERAL (
        SELECT sum(n.next_seq - n.seq - 1) AS batches,
               jsonb_agg(jsonb_build_array(n.seq + 1, n.next_seq - 1) ORDER BY n.seq) AS ranges
        -- A number that came outside the window is not missing; the first batch of a stream is 1.
        FROM (SELECT s.seq, lead(s.seq) OVER (ORDER BY s.seq) AS next_seq
              FROM (SELECT b.seq FROM ingest_batches AS b
                    WHERE b.gateway_id = c.gateway_id AND b.stream = c.stream AND b.seq BETWEEN c.first_seq AND c.last_seq
                    UNION ALL
                    SELECT COALESCE((SELECT max(b.seq) FROM ingest_batches AS b
                                     WHERE b.gateway_id = c.gateway_id AND b.stream = c.stream AND b.seq < c.first_seq), 0)) AS s
             ) AS n
        WHERE n.next_seq > n.seq + 1
    ) AS hole
    ORDER BY g.name, c.first_seq, c.stream
$$;
COMMENT ON FUNCTION stream_completeness(timestamptz, timestamptz) IS
    'Per stream that delivered from p_from to p_to: batches, readings and the inclusive ranges of sequence numbers that never came';
GRANT EXECUTE ON FUNCTION stream_completeness(timestamptz, timestamptz) TO segs_worker, segs_api, segs_readonly;

CREATE OR REPLACE FUNCTION meter_completeness(p_from timestamptz, p_to timestamptz, p_whole boolean, p_gaps integer DEFAULT 100)
RETURNS TABLE (meter_id integer, meter_code text, gateway text, device text, interval_ms integer, first_time timestamptz,
               last_time timestamptz, expected bigint, received bigint, missing bigint, gap_count bigint, gaps jsonb,
               quarantined bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT d.meter_id, d.meter_code, g.name, d.device, d.interval_ms, came.first_time, came.last_time,
           CASE WHEN p_whole THEN floor(date_part('epoch', span.hi - span.lo) * 1000 / d.interval_ms)
                WHEN came.received = 0 THEN 0
                ELSE round(date_part('epoch', came.last_time - came.first_time) * 1000 / d.interval_ms) + 1 END::bigint,
           came.received, COALESCE(came.missing, 0)::bigint, came.gap_count, COALESCE(came.gaps, '[]'), aside.readings
    FROM device_registry AS d
    JOIN gateway_registry AS g ON g.gateway_id = d.gateway_id
    CROSS JOIN LATERAL (SELECT greatest(p_from, lower(d.valid)) AS lo, least(p_to, upper(d.valid)) AS hi) AS span
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE NOT step.edge) AS received,
               min(step.time) FILTER (WHERE NOT step.edge) AS first_time, max(step.time) FILTER (WHERE NOT step.edge) AS last_time,
               count(*) FILTER (WHERE step.readings > 0) AS gap_count, sum(step.readings) AS missing,
               jsonb_agg(jsonb_build_object('from', step.before, 'to', step.time, 'missing', step.readings) ORDER BY step.time)
                   FILTER (WHERE step.readings > 0 AND step.number <= p_gaps) AS gaps
        FROM (
            SELECT s.*, CASE WHEN s.readings > 0 THEN row_number() OVER (PARTITION BY s.readings > 0 ORDER BY s.time) END AS number
            FROM (
                SELECT r.time, r.edge, lag(r.time) OVER w AS before,
                       CASE WHEN date_part('epoch', r.time - lag(r.time) OVER w) * 1000 > 1.5 * d.interval_ms
                            -- One reading fewer than intervals, but from the beginning of the window as many.
                            THEN greatest(1, round(date_part('epoch', r.time - lag(r.time) OVER w) * 1000 / d.interval_ms)
                                             - CASE WHEN lag(r.edge) OVER w THEN 0 ELSE 1 END) ELSE 0 END AS readings
                FROM (SELECT w.time, false AS edge FROM raw_readings AS w
                      WHERE w.meter_id = d.meter_id AND w.time >= span.lo AND w.time < span.hi AND w.time >= p_from AND w.time < p_to
                      UNION ALL
                      SELECT e.time, true FROM (VALUES (span.lo), (span.hi)) AS e (time) WHERE p_whole
                     ) AS r
                WINDOW w AS (ORDER BY r.time, r.edge DESC)
            ) AS s
        ) AS step
    ) AS came
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(q.readings), 0)::bigint AS readings FROM quarantine AS q
        WHERE q.released_at IS NULL AND q.gateway_id = d.gateway_id AND q.device = d.device
          AND q.first_time < span.hi AND q.last_time >= span.lo
    ) AS aside
    WHERE d.valid && tstzrange(p_from, p_to)
    ORDER BY d.meter_code, span.lo
$$;
COMMENT ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) IS
    'Per meter and registration: readings expected by interval_ms, received, missing (silences longer than 1.5 intervals, the first p_gaps of them listed), quarantined. p_whole: expected in all of p_from to p_to, not only between the first and the last reading';
GRANT EXECUTE ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) TO segs_worker, segs_api, segs_readonly;

-- telemetry/policies/cagg_1m.sql
-- Refreshing over raw readings that retention has dropped would empty the minutes: start_offset stays under their 7 days.
-- The job is made anew, so that an edit reaches it.

DO $$
BEGIN
    IF is_community() THEN
        PERFORM remove_continuous_aggregate_policy('cagg_1m', if_exists => true);
        PERFORM add_continuous_aggregate_policy('cagg_1m', start_offset => INTERVAL '5 days', end_offset => INTERVAL '1 minute',
                                                schedule_interval => INTERVAL '1 minute');
    END IF;
END
$$;

-- telemetry/policies/retention.sql
-- Community: TimescaleDB's own jobs drop what retention_periods says, but for what is computed from: of that the workers drop
-- what has been computed. Apache has no jobs; there the workers do it all. A job is made anew, so that an edit reaches it.

DO $$
DECLARE
    v_period record;
BEGIN
    IF is_community() THEN
        FOR v_period IN SELECT p.hypertable, p.keep FROM retention_periods() AS p UNION ALL VALUES ('cagg_1m', INTERVAL '30 days') LOOP
            PERFORM remove_retention_policy(v_period.hypertable::regclass, if_exists => true);
            IF v_period.hypertable NOT IN ('raw_readings', 'register_minutes') THEN
                PERFORM add_retention_policy(v_period.hypertable::regclass, drop_after => v_period.keep);
            END IF;
        END LOOP;
    END IF;
END
$$;

-- lockdown.sql
-- Last part of both masters. PostgreSQL lets PUBLIC execute every new function; ours are for the roles they are granted
-- to, each grant standing under its function. (ALTER DEFAULT PRIVILEGES would also hit functions that an upgrade of an
-- extension adds.)
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid::regprocedure
          FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace
           AND has_function_privilege('public', p.oid, 'EXECUTE')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', v_function);
    END LOOP;
END
$$;
