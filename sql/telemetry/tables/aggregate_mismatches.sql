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
COMMENT ON COLUMN aggregate_mismatches.expected IS 'What cagg_1m says: samples, power_w_count, power_w_min, power_w_max, power_w_sum, energy_import_wh_first and _last';
COMMENT ON COLUMN aggregate_mismatches.found IS 'What aggregates_1m says, with energy_import_start_wh and energy_import_wh; NULL where it has no row';
COMMENT ON COLUMN aggregate_mismatches.found_at IS 'When the difference was found';
COMMENT ON INDEX aggregate_mismatches_found_at_idx IS 'The latest differences';
GRANT SELECT, INSERT, UPDATE, DELETE ON aggregate_mismatches TO segs_worker;
GRANT SELECT ON aggregate_mismatches TO segs_readonly;
