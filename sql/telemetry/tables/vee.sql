-- Validation: its rules, what they found, what is usual for a meter, and which quarter-hours have to be looked at.

CREATE TABLE IF NOT EXISTS vee_rules (
    rule text PRIMARY KEY CHECK (rule IN ('spike', 'sum', 'high', 'low', 'consecutive')),
    enabled boolean NOT NULL DEFAULT true,
    percent double precision NOT NULL CHECK (percent >= 0),
    energy_wh bigint NOT NULL CHECK (energy_wh >= 0),
    number integer NOT NULL CHECK (number > 0)
);
INSERT INTO vee_rules (rule, percent, energy_wh, number)
VALUES ('spike', 180, 250, 3), ('sum', 0.1, 2, 1), ('high', 300, 1000, 3), ('low', 10, 1000, 3), ('consecutive', 0, 0, 48)
ON CONFLICT (rule) DO NOTHING;
COMMENT ON TABLE vee_rules IS 'Rules by which a meter''s local days are validated, and their parameters';
COMMENT ON COLUMN vee_rules.rule IS 'spike: highest quarter-hour against a lower peak; sum: quarter-hours against the register; high and low: the day against the usual; consecutive: the same value again and again';
COMMENT ON COLUMN vee_rules.enabled IS 'Whether the rule is applied';
COMMENT ON COLUMN vee_rules.percent IS 'spike: excess over the lower peak; sum: tolerated deviation; high, low: of the usual day; consecutive: unused';
COMMENT ON COLUMN vee_rules.energy_wh IS 'An energy, Wh. spike: peaks below are none; sum: tolerated deviation; high, low: usual days below are not judged; consecutive: what counts as the same';
COMMENT ON COLUMN vee_rules.number IS 'spike: which peak is compared with, 3 for the third; high, low: like days needed; consecutive: quarter-hours from which on a run is found; sum: unused';
GRANT SELECT ON vee_rules TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS vee_findings (
    finding_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL REFERENCES vee_rules,
    meter_id integer NOT NULL,
    day date NOT NULL,
    first_bucket timestamptz NOT NULL,
    last_bucket timestamptz NOT NULL CHECK (last_bucket >= first_bucket),
    measured double precision NOT NULL,
    allowed double precision NOT NULL,
    found_at timestamptz NOT NULL,
    cleared_at timestamptz CHECK (cleared_at >= found_at),
    CONSTRAINT vee_findings_once UNIQUE (meter_id, day, rule, first_bucket)
);
CREATE INDEX IF NOT EXISTS vee_findings_open_idx ON vee_findings (day, meter_id) WHERE cleared_at IS NULL;
COMMENT ON TABLE vee_findings IS 'What validation found; a finding that a later look does not confirm is cleared, not deleted';
COMMENT ON COLUMN vee_findings.finding_id IS 'Row key';
COMMENT ON COLUMN vee_findings.rule IS 'The rule that the quarter-hours break';
COMMENT ON COLUMN vee_findings.meter_id IS 'Meter';
COMMENT ON COLUMN vee_findings.day IS 'Day, local to the meter';
COMMENT ON COLUMN vee_findings.first_bucket IS 'First quarter-hour concerned';
COMMENT ON COLUMN vee_findings.last_bucket IS 'Last quarter-hour concerned, inclusive';
COMMENT ON COLUMN vee_findings.measured IS 'What was found, Wh; for consecutive the number of quarter-hours';
COMMENT ON COLUMN vee_findings.allowed IS 'What the rule allows, in the same unit';
COMMENT ON COLUMN vee_findings.found_at IS 'When it was found first, or again after it was cleared';
COMMENT ON COLUMN vee_findings.cleared_at IS 'When a look at the day did not confirm it; NULL while it stands';
COMMENT ON INDEX vee_findings_once IS 'Looking again finds nothing twice';
COMMENT ON INDEX vee_findings_open_idx IS 'Findings that stand';
GRANT SELECT, INSERT, UPDATE ON vee_findings TO segs_worker;
GRANT SELECT ON vee_findings TO segs_readonly;

CREATE TABLE IF NOT EXISTS vee_meters (
    meter_id integer PRIMARY KEY,
    last_actual timestamptz NOT NULL DEFAULT '-infinity',
    estimated_until timestamptz NOT NULL DEFAULT '-infinity',
    last_day date NOT NULL,
    daily_import_wh bigint[] NOT NULL CHECK (cardinality(daily_import_wh) = 21)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS vee_meters_last_actual_idx ON vee_meters (last_actual);
COMMENT ON TABLE vee_meters IS 'What validation remembers of a meter: 21 days of use, and when it was last heard';
COMMENT ON COLUMN vee_meters.meter_id IS 'Meter';
COMMENT ON COLUMN vee_meters.last_actual IS 'Latest quarter-hour with a reading, as far as days have been validated';
COMMENT ON COLUMN vee_meters.estimated_until IS 'Until when quarter-hours of its silence have been estimated, exclusive';
COMMENT ON COLUMN vee_meters.last_day IS 'The local day of the last element of daily_import_wh';
COMMENT ON COLUMN vee_meters.daily_import_wh IS 'Imported energy of 21 local days up to last_day, Wh; NULL for a day that lacks quarter-hours';
COMMENT ON INDEX vee_meters_last_actual_idx IS 'Meters that have been silent for long';
GRANT SELECT, INSERT, UPDATE ON vee_meters TO segs_worker;
GRANT SELECT ON vee_meters TO segs_readonly;

CREATE TABLE IF NOT EXISTS dirty_intervals (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL,
    first_bucket timestamptz NOT NULL,
    last_bucket timestamptz NOT NULL CHECK (last_bucket >= first_bucket),
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    error text,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE dirty_intervals IS 'Append-only queue: quarter-hours to estimate and to validate; workers delete marks and do so';
COMMENT ON COLUMN dirty_intervals.dirty_id IS 'Order of arrival';
COMMENT ON COLUMN dirty_intervals.meter_id IS 'Meter';
COMMENT ON COLUMN dirty_intervals.first_bucket IS 'First quarter-hour';
COMMENT ON COLUMN dirty_intervals.last_bucket IS 'Last quarter-hour, inclusive';
COMMENT ON COLUMN dirty_intervals.not_before IS 'Not to be taken before; later than now after a failure';
COMMENT ON COLUMN dirty_intervals.error IS 'What the database said when the mark failed last';
COMMENT ON COLUMN dirty_intervals.marked_at IS 'When it was marked';
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_intervals TO segs_worker;
GRANT SELECT ON dirty_intervals TO segs_readonly;
