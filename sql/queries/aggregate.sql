-- Statements of the aggregation workers.

-- name: aggregate_readings
-- One claim of marks: minutes and quarter-hours of meters.
SELECT marks, minutes, quarters FROM aggregate_readings(%(limit)s, %(now)s);

-- name: aggregate_regions
-- One claim of marks: quarter-hours of regions.
SELECT marks, quarters FROM aggregate_regions(%(limit)s);

-- name: set_aside_reading_mark
-- The oldest mark that nobody holds leaves the queue.
WITH oldest AS (
    DELETE FROM dirty_readings WHERE dirty_id = (
        SELECT dirty_id FROM dirty_readings ORDER BY dirty_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING meter_id, first_time, last_time, marked_at
)
INSERT INTO failed_marks (meter_id, first_time, last_time, marked_at, failed_at, error)
SELECT meter_id, first_time, last_time, marked_at, %(now)s, %(error)s FROM oldest
RETURNING meter_id, first_time, last_time;

-- name: set_aside_region_mark
-- The same for regions.
WITH oldest AS (
    DELETE FROM dirty_regions WHERE dirty_id = (
        SELECT dirty_id FROM dirty_regions ORDER BY dirty_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING region, bucket, marked_at
)
INSERT INTO failed_marks (region, first_time, last_time, marked_at, failed_at, error)
SELECT region, bucket, bucket, marked_at, %(now)s, %(error)s FROM oldest
RETURNING region, first_time, last_time;

-- name: retry_failed_marks
-- Marks that failed more than an hour ago go back into their queues; they keep their age.
WITH again AS (
    DELETE FROM failed_marks WHERE failed_mark_id IN (
        SELECT failed_mark_id FROM failed_marks WHERE failed_at < %(now)s - INTERVAL '1 hour'
        ORDER BY failed_mark_id LIMIT 100 FOR UPDATE SKIP LOCKED)
    RETURNING meter_id, region, first_time, last_time, marked_at
), readings AS (
    INSERT INTO dirty_readings (meter_id, first_time, last_time, marked_at)
    SELECT meter_id, first_time, last_time, marked_at FROM again WHERE meter_id IS NOT NULL
)
INSERT INTO dirty_regions (region, bucket, marked_at)
SELECT region, first_time, marked_at FROM again WHERE region IS NOT NULL;

-- name: lag
-- Age of the oldest mark of each queue, seconds; 0 where it is empty.
SELECT COALESCE(EXTRACT(epoch FROM clock_timestamp() - (SELECT min(marked_at) FROM dirty_readings)), 0)::float8,
    COALESCE(EXTRACT(epoch FROM clock_timestamp() - (SELECT min(marked_at) FROM dirty_regions)), 0)::float8;
