-- What has to be computed again, as queues: marks are only ever added, and workers delete those that they have worked off.
-- A table with one row per bucket instead would make receivers wait for workers.
--
-- Meters belong to blocks of 4096. A worker takes a block at a time, and has it for itself until it commits.

CREATE TABLE IF NOT EXISTS dirty_meters (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resolution_min smallint NOT NULL CHECK (resolution_min IN (1, 15)),
    block integer NOT NULL,
    meters integer[] NOT NULL CHECK (cardinality(meters) > 0),
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    due_at timestamptz NOT NULL,
    alone boolean NOT NULL DEFAULT false,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS dirty_meters_block_idx ON dirty_meters (resolution_min, block, due_at);
COMMENT ON TABLE dirty_meters IS 'Queue: spans of meters whose readings came or changed, or whose minutes did';
COMMENT ON COLUMN dirty_meters.dirty_id IS 'Order of arrival';
COMMENT ON COLUMN dirty_meters.resolution_min IS '1: minutes are to be computed from readings. 15: quarter-hours from minutes';
COMMENT ON COLUMN dirty_meters.block IS 'meter_block of the meters';
COMMENT ON COLUMN dirty_meters.meters IS 'The meters, of one block';
COMMENT ON COLUMN dirty_meters.first_time IS 'Earliest reading of the span, or the start of the first minute';
COMMENT ON COLUMN dirty_meters.last_time IS 'Latest reading of the span, or the start of the last minute; inclusive';
COMMENT ON COLUMN dirty_meters.due_at IS 'When it is worth computing: once the last bucket of the span is over';
COMMENT ON COLUMN dirty_meters.alone IS 'It was part of a claim that failed, and is taken by itself';
COMMENT ON COLUMN dirty_meters.marked_at IS 'When the span was marked';
COMMENT ON INDEX dirty_meters_block_idx IS 'Marks of a block that are due';
GRANT SELECT, INSERT ON dirty_meters TO segs_ingest;
GRANT SELECT, INSERT, DELETE ON dirty_meters TO segs_worker;
GRANT SELECT ON dirty_meters TO segs_readonly;

CREATE TABLE IF NOT EXISTS dirty_regions (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region text NOT NULL,
    bucket timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT '-infinity',
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE dirty_regions IS 'Queue: quarter-hours of regions whose meters changed';
COMMENT ON COLUMN dirty_regions.dirty_id IS 'Order of arrival';
COMMENT ON COLUMN dirty_regions.region IS 'Region to sum again';
COMMENT ON COLUMN dirty_regions.bucket IS 'Start of the quarter-hour, UTC';
COMMENT ON COLUMN dirty_regions.due_at IS 'When it is worth computing: a while after the first of its meters';
COMMENT ON COLUMN dirty_regions.marked_at IS 'When the bucket was marked';
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_regions TO segs_worker;
GRANT SELECT ON dirty_regions TO segs_readonly;

-- Marks whose computation the database refused. They leave the queue, so that they hold up no other, and come back hourly.
CREATE TABLE IF NOT EXISTS failed_marks (
    failed_mark_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resolution_min smallint NOT NULL DEFAULT 1 CHECK (resolution_min IN (1, 15)),
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
COMMENT ON COLUMN failed_marks.resolution_min IS 'What could not be computed: 1 minutes, 15 quarter-hours';
COMMENT ON COLUMN failed_marks.meter_id IS 'Meter, for a mark of dirty_meters';
COMMENT ON COLUMN failed_marks.region IS 'Region, for a mark of dirty_regions';
COMMENT ON COLUMN failed_marks.first_time IS 'Earliest reading of the span, or the start of the first bucket';
COMMENT ON COLUMN failed_marks.last_time IS 'Latest reading of the span, or the start of the last bucket; inclusive';
COMMENT ON COLUMN failed_marks.marked_at IS 'When the span was marked';
COMMENT ON COLUMN failed_marks.failed_at IS 'When its computation failed';
COMMENT ON COLUMN failed_marks.error IS 'What the database said';
GRANT SELECT, INSERT, UPDATE, DELETE ON failed_marks TO segs_worker;
GRANT SELECT ON failed_marks TO segs_readonly;
