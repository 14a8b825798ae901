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
    energy_import_start_wh bigint,
    energy_export_start_wh bigint,
    reactive_energy_import_start_varh bigint,
    reactive_energy_export_start_varh bigint,
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
COMMENT ON COLUMN aggregates_1m.energy_import_start_wh IS 'Register of imported active energy at the bucket''s start, Wh: interpolated between the reads around it, or the first read there is; NULL without a register, and where a read was not believed';
COMMENT ON COLUMN aggregates_1m.energy_export_start_wh IS 'Register of exported active energy at the bucket''s start, Wh: interpolated between the reads around it, or the first read there is; NULL without a register, and where a read was not believed';
COMMENT ON COLUMN aggregates_1m.reactive_energy_import_start_varh IS 'Register of imported reactive energy at the bucket''s start, varh: interpolated between the reads around it, or the first read there is; NULL without a register, and where a read was not believed';
COMMENT ON COLUMN aggregates_1m.reactive_energy_export_start_varh IS 'Register of exported reactive energy at the bucket''s start, varh: interpolated between the reads around it, or the first read there is; NULL without a register, and where a read was not believed';
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
GRANT SELECT ON aggregates_1m TO segs_readonly;
