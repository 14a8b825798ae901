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
GRANT SELECT ON regional_15m TO segs_readonly;
