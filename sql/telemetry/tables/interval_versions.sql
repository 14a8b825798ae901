-- What stands in for the energy that a quarter-hour's registers tell: estimates and edits. Rows end, they never go: of each
-- quarter-hour it is known what held when, and why.

CREATE TABLE IF NOT EXISTS interval_versions (
    version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    method text NOT NULL CHECK (method IN ('edit', 'like_day', 'flat')),
    quality smallint NOT NULL,
    energy_import_wh bigint CHECK (energy_import_wh >= 0),
    energy_export_wh bigint CHECK (energy_export_wh >= 0),
    reactive_energy_import_varh bigint CHECK (reactive_energy_import_varh >= 0),
    reactive_energy_export_varh bigint CHECK (reactive_energy_export_varh >= 0),
    actor text CHECK (actor <> ''),
    reason text CHECK (reason <> ''),
    created_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= created_at),
    ended_by text CHECK (ended_by <> ''),
    ended_reason text CHECK (ended_reason <> ''),
    CONSTRAINT interval_versions_bucket_is_a_quarter_hour
        CHECK (date_bin('15 minutes', bucket, timestamptz '2000-01-01 00:00+00') = bucket),
    CONSTRAINT interval_versions_quality_tells_the_method
        CHECK (quality = CASE method WHEN 'edit' THEN 7 WHEN 'like_day' THEN 8 ELSE 9 END),
    CONSTRAINT interval_versions_says_something CHECK (
        num_nonnulls(energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh) > 0),
    CONSTRAINT interval_versions_edit_has_actor_and_reason CHECK (method <> 'edit' OR num_nonnulls(actor, reason) = 2),
    CONSTRAINT interval_versions_end_has_a_reason CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
);
CREATE INDEX IF NOT EXISTS interval_versions_bucket_idx ON interval_versions (meter_id, bucket);
CREATE UNIQUE INDEX IF NOT EXISTS interval_versions_live_key ON interval_versions (meter_id, bucket, (method = 'edit'))
    WHERE ended_at IS NULL;
COMMENT ON TABLE interval_versions IS 'Estimates and edits of quarter-hours; ended ones are kept. What holds is effective_quarters()';
COMMENT ON COLUMN interval_versions.version_id IS 'Row key';
COMMENT ON COLUMN interval_versions.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN interval_versions.bucket IS 'Start of the quarter-hour, UTC';
COMMENT ON COLUMN interval_versions.method IS 'edit by an operator, like_day from the weeks before, flat where the register''s move is not known';
COMMENT ON COLUMN interval_versions.quality IS 'ESPI QualityOfReading: 7 edited, 8 like day, 9 flat';
COMMENT ON COLUMN interval_versions.energy_import_wh IS 'Active energy of the quarter-hour, import, Wh; NULL leaves what is beneath';
COMMENT ON COLUMN interval_versions.energy_export_wh IS 'Active energy of the quarter-hour, export, Wh; NULL leaves what is beneath';
COMMENT ON COLUMN interval_versions.reactive_energy_import_varh IS 'Reactive energy of the quarter-hour, import, varh; NULL leaves what is beneath';
COMMENT ON COLUMN interval_versions.reactive_energy_export_varh IS 'Reactive energy of the quarter-hour, export, varh; NULL leaves what is beneath';
COMMENT ON COLUMN interval_versions.actor IS 'Who made it; NULL for the workers';
COMMENT ON COLUMN interval_versions.reason IS 'Why; every edit has one';
COMMENT ON COLUMN interval_versions.created_at IS 'Since when it holds';
COMMENT ON COLUMN interval_versions.ended_at IS 'Until when it held; NULL while it holds';
COMMENT ON COLUMN interval_versions.ended_by IS 'Who ended it; NULL for the workers';
COMMENT ON COLUMN interval_versions.ended_reason IS 'Why it ended';
COMMENT ON INDEX interval_versions_bucket_idx IS 'All that was ever said of a quarter-hour';
COMMENT ON INDEX interval_versions_live_key IS 'One edit and one estimate hold at a time';
-- Nobody deletes, and nobody changes what was said.
GRANT SELECT, INSERT, UPDATE (ended_at, ended_by, ended_reason) ON interval_versions TO segs_worker;
GRANT SELECT ON interval_versions TO segs_readonly;
