-- Meters that are not heard: by the clock, one look at each meter's newest readings.

CREATE OR REPLACE FUNCTION silent_meters(p_intervals double precision, p_now timestamptz)
RETURNS TABLE (meter_id integer, since timestamptz, intervals double precision)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
-- With the times in the plan, it has the chunks of these times and no others.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- A reading is some seconds on its way: it waits for the disk, for the next batch and for its commit.
    v_least_ms CONSTANT integer := 5000;
    v_oldest CONSTANT timestamptz := greatest(retention_horizon('raw_readings', p_now), p_now - INTERVAL '7 days');
    v_from CONSTANT timestamptz := greatest(v_oldest, p_now - p_intervals * (SELECT max(greatest(d.interval_ms, v_least_ms)) / 1000.0 FROM device_registry AS d WHERE d.valid @> p_now) * INTERVAL '1 second');
    v_until CONSTANT timestamptz := p_now + INTERVAL '5 minutes';
BEGIN
    RETURN QUERY
    WITH device AS MATERIALIZED (
        SELECT d.meter_id, greatest(d.interval_ms, v_least_ms) / 1000.0 AS every_s FROM device_registry AS d WHERE d.valid @> p_now
    ), quiet AS MATERIALIZED (
        SELECT d.meter_id, d.every_s, l.time
        FROM device AS d
        LEFT JOIN LATERAL (SELECT r.time FROM raw_readings AS r WHERE r.meter_id = d.meter_id AND r.time > v_from AND r.time <= v_until
                           ORDER BY r.time DESC LIMIT 1) AS l ON true
        WHERE l.time > p_now - p_intervals * d.every_s * INTERVAL '1 second' IS NOT TRUE
    ), known AS (
        -- One that was silent for longer than readings are looked for is known by its quarter-hours; of one that was never heard nobody misses anything.
        SELECT q.meter_id, q.every_s,
               COALESCE(q.time, (SELECT r.time FROM raw_readings AS r WHERE r.meter_id = q.meter_id AND r.time > v_oldest AND r.time <= v_until ORDER BY r.time DESC LIMIT 1),
                        (SELECT v.last_actual FROM vee_meters AS v WHERE v.meter_id = q.meter_id AND v.last_actual > '-infinity')) AS time
        FROM quiet AS q
    )
    SELECT k.meter_id, k.time, (EXTRACT(epoch FROM p_now - k.time) / k.every_s)::double precision
    FROM known AS k WHERE k.time < p_now - p_intervals * k.every_s * INTERVAL '1 second';
END
$$;
COMMENT ON FUNCTION silent_meters(double precision, timestamptz) IS
    'Registered meters whose last reading is older than p_intervals of their intervals: that reading''s time, and how many intervals ago it was, each of 5 s at least. Not those that were never heard';
GRANT EXECUTE ON FUNCTION silent_meters(double precision, timestamptz) TO segs_worker;
