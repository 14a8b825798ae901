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
