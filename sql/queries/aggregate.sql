-- Statements of the aggregation workers.

-- name: aggregate_readings
-- One claim of marks: minutes and quarter-hours of meters.
SELECT marks, minutes, quarters FROM aggregate_readings(%(limit)s, %(now)s);

-- name: aggregate_regions
-- One claim of marks: quarter-hours of regions.
SELECT marks, quarters FROM aggregate_regions(%(limit)s);

-- name: postpone_reading_mark
-- The oldest mark that nobody holds goes to the end of the queue; it keeps its age.
WITH oldest AS (
    DELETE FROM dirty_readings WHERE dirty_id = (
        SELECT dirty_id FROM dirty_readings ORDER BY dirty_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING meter_id, first_time, last_time, marked_at
)
INSERT INTO dirty_readings (meter_id, first_time, last_time, marked_at)
SELECT meter_id, first_time, last_time, marked_at FROM oldest
RETURNING meter_id, first_time, last_time;

-- name: postpone_region_mark
-- The same for regions.
WITH oldest AS (
    DELETE FROM dirty_regions WHERE dirty_id = (
        SELECT dirty_id FROM dirty_regions ORDER BY dirty_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING region, bucket, marked_at
)
INSERT INTO dirty_regions (region, bucket, marked_at)
SELECT region, bucket, marked_at FROM oldest
RETURNING region, bucket, bucket;

-- name: lag
-- Age of the oldest mark of each queue, seconds; 0 where it is empty.
SELECT COALESCE(EXTRACT(epoch FROM clock_timestamp() - (SELECT min(marked_at) FROM dirty_readings)), 0)::float8,
    COALESCE(EXTRACT(epoch FROM clock_timestamp() - (SELECT min(marked_at) FROM dirty_regions)), 0)::float8;
