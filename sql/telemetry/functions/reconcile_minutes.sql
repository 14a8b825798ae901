-- Compares what two different pieces of SQL say of the same minutes. A minute with a mark in the queue is not settled. All
-- of it is one statement, so one snapshot: readings and their mark are committed together, and so are a computed minute
-- and the deletion of its mark.

CREATE OR REPLACE FUNCTION reconcile_minutes(
    p_from timestamptz, p_to timestamptz, p_now timestamptz, p_limit integer DEFAULT 1000,
    OUT minutes bigint, OUT mismatches bigint
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_from CONSTANT timestamptz := greatest(time_bucket(INTERVAL '1 minute', p_from), p_now - INTERVAL '5 days');
    v_to CONSTANT timestamptz := least(time_bucket(INTERVAL '1 minute', p_to), time_bucket(INTERVAL '1 minute', p_now));
BEGIN
    PERFORM require_readable_chunks();
    WITH expected AS MATERIALIZED (
        -- Meter by meter: the index of raw readings begins with the meter, and a window is far smaller than a chunk.
        SELECT c.* FROM (SELECT DISTINCT r.meter_id FROM device_registry AS r) AS meter
        CROSS JOIN LATERAL (SELECT * FROM cagg_1m AS m
                            WHERE m.meter_id = meter.meter_id AND m.bucket >= v_from AND m.bucket < v_to) AS c
        WHERE NOT EXISTS (SELECT FROM dirty_meters AS d
                          WHERE d.resolution_min = 1 AND d.block = meter_block(c.meter_id) AND c.meter_id = ANY (d.meters)
                            AND d.first_time < c.bucket + INTERVAL '1 minute' AND d.last_time >= c.bucket)
    ), different AS MATERIALIZED (
        SELECT e.meter_id, e.bucket,
               jsonb_build_object('samples', e.samples, 'power_w_count', e.power_w_count, 'power_w_min', e.power_w_min,
                                  'power_w_max', e.power_w_max, 'power_w_sum', e.power_w_sum,
                                  'energy_import_wh_first', e.energy_import_wh_first,
                                  'energy_import_wh_last', e.energy_import_wh_last) AS expected,
               CASE WHEN a.meter_id IS NOT NULL THEN
               jsonb_build_object('samples', a.samples, 'power_w_count', a.power_w_count, 'power_w_min', a.power_w_min,
                                  'power_w_max', a.power_w_max, 'power_w_sum', a.power_w_sum,
                                  'energy_import_start_wh', a.energy_import_start_wh, 'energy_import_wh', a.energy_import_wh) END AS found,
               e.samples, e.power_w_count, e.energy_import_wh_first, e.energy_import_wh_last
        FROM expected AS e
        LEFT JOIN aggregates_1m AS a ON a.meter_id = e.meter_id AND a.bucket = e.bucket AND a.bucket >= v_from AND a.bucket < v_to
        WHERE (e.samples, e.power_w_count, e.power_w_min, e.power_w_max, e.energy_import_wh_first IS NULL)
              IS DISTINCT FROM (a.samples::bigint, a.power_w_count::bigint, a.power_w_min, a.power_w_max,
                                CASE WHEN e.energy_import_wh_first IS NULL THEN true ELSE a.energy_import_wh IS NULL END)
           -- A register that was believed stood no higher at the minute's start than at its first read, and no lower at its end
           -- than at its last.
           OR a.energy_import_start_wh > e.energy_import_wh_first
           OR a.energy_import_start_wh + a.energy_import_wh < e.energy_import_wh_last
           -- Sums of the same numbers in another order differ in their last digits.
           OR abs(e.power_w_sum - COALESCE(a.power_w_sum, 'infinity')) > 1e-9 * greatest(1, abs(e.power_w_sum))
        ORDER BY e.bucket, e.meter_id
        LIMIT p_limit
    ), confirmed AS (
        -- A continuous aggregate learns of late readings, and of columns that come late, only at its next refresh: raw readings
        -- have the last word.
        SELECT d.meter_id, d.bucket, d.expected, d.found
        FROM different AS d
        CROSS JOIN LATERAL (
            SELECT count(*) AS samples, count(w.power_w) AS power_w_count,
                   first(w.energy_import_wh, w.time) FILTER (WHERE w.energy_import_wh IS NOT NULL) AS energy_import_wh_first,
                   last(w.energy_import_wh, w.time) FILTER (WHERE w.energy_import_wh IS NOT NULL) AS energy_import_wh_last
            FROM raw_readings AS w
            WHERE w.meter_id = d.meter_id AND w.time >= d.bucket AND w.time < d.bucket + INTERVAL '1 minute'
              AND w.time >= v_from AND w.time < v_to
        ) AS raw
        WHERE NOT is_community()
           OR (raw.samples, raw.power_w_count, raw.energy_import_wh_first, raw.energy_import_wh_last)
              IS NOT DISTINCT FROM (d.samples, d.power_w_count, d.energy_import_wh_first, d.energy_import_wh_last)
    ), kept AS (
        INSERT INTO aggregate_mismatches (meter_id, bucket, expected, found, found_at)
        SELECT c.meter_id, c.bucket, c.expected, c.found, p_now FROM confirmed AS c
        RETURNING meter_id, bucket
    ), marked AS (
        SELECT mark_meters(1, array_agg(k.meter_id), k.bucket, k.bucket + INTERVAL '59.999999 seconds', p_now) FROM kept AS k GROUP BY k.bucket
    )
    SELECT (SELECT count(*) FROM expected), (SELECT count(*) FROM kept)
    FROM (SELECT count(*) FROM marked) AS done INTO minutes, mismatches;
END
$$;
COMMENT ON FUNCTION reconcile_minutes(timestamptz, timestamptz, timestamptz, integer) IS
    'Compares the whole minutes of p_from to p_to that are settled, at most 5 days old; keeps up to p_limit differences in aggregate_mismatches and marks them to be computed again. Returns the minutes compared and the differences';
GRANT EXECUTE ON FUNCTION reconcile_minutes(timestamptz, timestamptz, timestamptz, integer) TO segs_worker;
