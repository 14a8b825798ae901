-- What alerts need of telemetry: which minutes and quarter-hours were computed and not looked at by rules yet, and which phases a
-- meter has.

CREATE TABLE IF NOT EXISTS dirty_alerts (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    step_min smallint NOT NULL CHECK (step_min IN (1, 15)),
    block integer NOT NULL,
    meters integer[] NOT NULL CHECK (cardinality(meters) > 0),
    first_bucket timestamptz NOT NULL,
    last_bucket timestamptz NOT NULL CHECK (last_bucket >= first_bucket),
    due_at timestamptz NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text
);
CREATE INDEX IF NOT EXISTS dirty_alerts_block_idx ON dirty_alerts (block, due_at);
COMMENT ON TABLE dirty_alerts IS 'Queue: spans of meters that were computed, for rules of alerts to look at';
COMMENT ON COLUMN dirty_alerts.dirty_id IS 'Order of arrival';
COMMENT ON COLUMN dirty_alerts.step_min IS '1: minutes, 15: quarter-hours';
COMMENT ON COLUMN dirty_alerts.block IS 'meter_block of the meters';
COMMENT ON COLUMN dirty_alerts.meters IS 'The meters, of one block';
COMMENT ON COLUMN dirty_alerts.first_bucket IS 'Start of the first minute or quarter-hour';
COMMENT ON COLUMN dirty_alerts.last_bucket IS 'Start of the last one, inclusive';
COMMENT ON COLUMN dirty_alerts.due_at IS 'When it is worth looking: once the last of them is over, and later than now after a failure';
COMMENT ON COLUMN dirty_alerts.marked_at IS 'When the span was marked';
COMMENT ON COLUMN dirty_alerts.error IS 'What the database said when the meter could not be judged';
COMMENT ON INDEX dirty_alerts_block_idx IS 'Marks of a block that are due';
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_alerts TO segs_worker;
GRANT SELECT ON dirty_alerts TO segs_readonly;

CREATE TABLE IF NOT EXISTS meter_phases (
    meter_id integer PRIMARY KEY,
    phases smallint NOT NULL CHECK (phases BETWEEN 1 AND 7)
);
COMMENT ON TABLE meter_phases IS 'Phases of each meter that ever had voltage: one that never had is not connected, and not lost';
COMMENT ON COLUMN meter_phases.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN meter_phases.phases IS 'As bits: 1 phase 1, 2 phase 2, 4 phase 3';
GRANT SELECT, INSERT, UPDATE, DELETE ON meter_phases TO segs_worker;
GRANT SELECT ON meter_phases TO segs_readonly;
