-- Statements of the aggregation workers.

-- name: aggregate_readings
-- One claim of marks: minutes of meters.
SELECT marks, minutes, failed FROM aggregate_readings(%(limit)s, %(now)s, %(early)s);

-- name: aggregate_quarters
-- One claim of marks: quarter-hours of meters.
SELECT marks, quarters, failed FROM aggregate_quarters(%(limit)s, %(now)s, %(early)s);

-- name: aggregate_regions
-- One claim of marks: quarter-hours of regions.
SELECT marks, quarters, failed FROM aggregate_regions(%(limit)s, %(now)s, %(early)s);

-- name: put_back
-- The marks of a claim that took longer than the database allows, to be taken one by one, in halves, or to be kept aside.
SELECT cardinality(c.marks), 0, put_back(c.marks, '57014', %(error)s, %(now)s)
FROM (SELECT claim_marks(%(resolution_min)s, %(limit)s, CASE WHEN %(early)s THEN 'infinity' ELSE %(now)s END) AS marks OFFSET 0) AS c;

-- name: retry_failed_marks
-- Marks that failed more than an hour ago go back into their queues; they keep their age.
WITH again AS (
    DELETE FROM failed_marks WHERE failed_mark_id IN (
        SELECT failed_mark_id FROM failed_marks WHERE failed_at < %(now)s - INTERVAL '1 hour'
        ORDER BY failed_mark_id LIMIT 100 FOR UPDATE SKIP LOCKED)
    RETURNING resolution_min, meter_id, region, first_time, last_time, marked_at
), meters AS (
    INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at, marked_at)
    SELECT resolution_min, meter_block(meter_id), ARRAY[meter_id], first_time, last_time, %(now)s, marked_at
    FROM again WHERE meter_id IS NOT NULL
)
INSERT INTO dirty_regions (region, bucket, due_at, marked_at)
SELECT region, first_time, %(now)s, marked_at FROM again WHERE region IS NOT NULL;

-- name: lag
-- How long the mark that is most overdue has waited since it was due, seconds, of each queue; 0 where none is.
SELECT greatest(0, COALESCE(EXTRACT(epoch FROM %(now)s - (SELECT min(due_at) FROM dirty_meters WHERE resolution_min = 1)), 0))::float8,
    greatest(0, COALESCE(EXTRACT(epoch FROM %(now)s - (SELECT min(due_at) FROM dirty_meters WHERE resolution_min = 15)), 0))::float8,
    greatest(0, COALESCE(EXTRACT(epoch FROM %(now)s - (SELECT min(due_at) FROM dirty_regions)), 0))::float8;
