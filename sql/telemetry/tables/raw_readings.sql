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
COMMENT ON COLUMN raw_readings.flags IS 'Bit 0 (1): time is the meter''s own clock. Bit 1 (2): time was corrected by the gateway, whose clock was wrong then';
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
GRANT SELECT, INSERT ON raw_readings TO segs_ingest, segs_worker;
GRANT SELECT ON raw_readings TO segs_readonly;
-- TimescaleDB hands every grant on to the table that keeps what is compressed, which has no such columns, and fails. So only
-- rights that are missing are granted, and where there is compression already, with its hooks off: rights on the hypertable
-- are all that a query needs.
DO $$
DECLARE
    v_role text;
    v_missing text;
    v_compressed CONSTANT boolean := EXISTS (
        SELECT FROM timescaledb_information.hypertables AS h
        WHERE h.hypertable_schema = 'public' AND h.hypertable_name = 'raw_readings' AND h.compression_enabled);
BEGIN
    FOREACH v_role IN ARRAY '{segs_ingest,segs_worker}'::text[] LOOP
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO v_missing
        FROM pg_attribute AS a
        WHERE a.attrelid = 'public.raw_readings'::regclass AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attname NOT IN ('time', 'meter_id', 'flags', 'batch_id')
          AND NOT has_column_privilege(v_role, a.attrelid, a.attnum, 'UPDATE');
        CONTINUE WHEN v_missing IS NULL;
        IF v_compressed THEN
            SET LOCAL timescaledb.restoring = on;
        END IF;
        EXECUTE format('GRANT UPDATE (%s) ON public.raw_readings TO %I', v_missing, v_role);
        IF v_compressed THEN
            SET LOCAL timescaledb.restoring = off;
        END IF;
    END LOOP;
END
$$;
