-- Meters that are not heard: by the clock, one look at each meter's newest readings.

CREATE OR REPLACE FUNCTION silent_meters(p_intervals double precision, p_now timestamptz)
RETURNS TABLE (meter_id integer, since timestamptz, intervals double precision)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_oldest CONSTANT timestamptz := greatest(retention_horizon('raw_readings', p_now), p_now - INTERVAL '7 days');
    v_device record;
    v_last timestamptz;
BEGIN
    FOR v_device IN
        SELECT d.meter_id, make_interval(secs => d.interval_ms / 1000.0) AS every, lower(d.valid) AS since FROM device_registry AS d WHERE d.valid @> p_now
    LOOP
        IF NOT EXISTS (SELECT FROM raw_readings AS r
                       WHERE r.meter_id = v_device.meter_id AND r.time > p_now - p_intervals * v_device.every AND r.time <= p_now + INTERVAL '5 minutes') THEN
            SELECT r.time INTO v_last FROM raw_readings AS r
            WHERE r.meter_id = v_device.meter_id AND r.time > v_oldest AND r.time <= p_now ORDER BY r.time DESC LIMIT 1;
            IF v_last IS NULL THEN
                -- One that was silent for longer than readings are looked for is known by its quarter-hours; of one that was never heard nobody misses anything.
                SELECT max(q.last_actual) INTO v_last FROM vee_meters AS q WHERE q.meter_id = v_device.meter_id AND q.last_actual > '-infinity';
            END IF;
            IF v_last IS NOT NULL AND v_last < p_now - p_intervals * v_device.every THEN
                meter_id := v_device.meter_id;
                since := v_last;
                intervals := EXTRACT(epoch FROM p_now - v_last) / EXTRACT(epoch FROM v_device.every);
                RETURN NEXT;
            END IF;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION silent_meters(double precision, timestamptz) IS
    'Registered meters whose last reading is older than p_intervals of their intervals: that reading''s time, and how many intervals ago it was. Not those that were never heard';
GRANT EXECUTE ON FUNCTION silent_meters(double precision, timestamptz) TO segs_worker;
