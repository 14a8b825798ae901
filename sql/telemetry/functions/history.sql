-- A meter's history, at the resolution that fits a chart.

CREATE OR REPLACE FUNCTION resolution_for(
    p_from timestamptz, p_to timestamptz, p_pixels integer, p_now timestamptz, p_interval_ms integer DEFAULT 1000
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
    SELECT COALESCE((
        SELECT r.resolution
        FROM (VALUES (1, 'raw', p_interval_ms / 1000.0, 'raw_readings'), (2, '1m', 60, 'aggregates_1m'),
                     (3, '15m', 900, NULL), (4, '1h', 3600, NULL)) AS r (nth, resolution, step_s, hypertable)
        -- A pixel of a sharp screen is two. What is not kept for so long shows less than half a chart.
        WHERE date_part('epoch', p_to - p_from) <= 2.0 * p_pixels * r.step_s
          AND p_from >= COALESCE(retention_horizon(r.hypertable, p_now), '-infinity')
        ORDER BY r.nth LIMIT 1), '1d')
$$;
COMMENT ON FUNCTION resolution_for(timestamptz, timestamptz, integer, timestamptz, integer) IS
    'The finest of raw, 1m, 15m, 1h and 1d that is kept since p_from at p_now and makes no more than two points a pixel of p_from to p_to, raw readings being p_interval_ms apart; 1d where none does';

CREATE OR REPLACE FUNCTION meter_history(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_resolution text, p_zone text DEFAULT NULL, p_limit integer DEFAULT 10000
) RETURNS TABLE (
    start_time timestamptz, end_time timestamptz, energy_import_wh bigint, energy_export_wh bigint,
    reactive_energy_import_varh bigint, reactive_energy_export_varh bigint, power_w_mean double precision, power_w_min real,
    power_w_max real, coverage real, quality smallint, version bigint, missing integer
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_part record;
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    IF p_resolution = 'raw' THEN
        RETURN QUERY
        SELECT w.time, w.time, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, w.power_w::double precision, w.power_w,
               w.power_w, NULL::real, 14::smallint, NULL::bigint, 0
        FROM raw_readings AS w
        WHERE w.meter_id = p_meter_id AND w.time >= p_from AND w.time < p_to
        ORDER BY w.time LIMIT p_limit;
        RETURN;
    END IF;
    SELECT * INTO v_part
    FROM readable_part(p_meter_id, p_from, p_to, CASE p_resolution WHEN '1m' THEN INTERVAL '1 minute' ELSE INTERVAL '15 minutes' END);
    RETURN QUERY
    SELECT i.start_time, i.end_time, i.energy_import_wh, i.energy_export_wh, i.reactive_energy_import_varh,
           i.reactive_energy_export_varh, i.power_w_mean, i.power_w_min, i.power_w_max, i.coverage, i.quality, i.version, i.missing
    FROM intervals(ARRAY[p_meter_id], v_part.lo, v_part.hi, p_resolution, p_zone) AS i
    ORDER BY i.start_time LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION meter_history(integer, timestamptz, timestamptz, text, text, integer) IS
    'The intervals() of a meter that p_from to p_to touches and that are the caller''s to read, at most p_limit, in order of time: raw, 1m, 15m, 1h, 1d, 1mo. Of raw, start and end are the time of the reading, and there is no energy. Raises SG040, SG060, SG062';

CREATE OR REPLACE FUNCTION meter_channels(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_resolution text, p_zone text DEFAULT NULL, p_limit integer DEFAULT 10000
) RETURNS TABLE (
    start_time timestamptz, end_time timestamptz,
    voltage_l1_v_mean double precision, voltage_l1_v_min real, voltage_l1_v_max real,
    voltage_l2_v_mean double precision, voltage_l2_v_min real, voltage_l2_v_max real,
    voltage_l3_v_mean double precision, voltage_l3_v_min real, voltage_l3_v_max real,
    current_l1_a_mean double precision, current_l1_a_min real, current_l1_a_max real,
    current_l2_a_mean double precision, current_l2_a_min real, current_l2_a_max real,
    current_l3_a_mean double precision, current_l3_a_min real, current_l3_a_max real,
    frequency_hz_mean double precision, frequency_hz_min real, frequency_hz_max real,
    power_factor_mean double precision, power_factor_min real, power_factor_max real
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_unit CONSTANT text := CASE p_resolution WHEN '15m' THEN 'hour' WHEN '1h' THEN 'hour' WHEN '1d' THEN 'day' WHEN '1mo' THEN 'month' END;
    v_part record;
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    IF p_resolution <> '1m' AND v_unit IS NULL THEN
        RAISE EXCEPTION 'there is no resolution %', p_resolution USING ERRCODE = 'SG040', HINT = 'Give 1m, 15m, 1h, 1d or 1mo.';
    END IF;
    SELECT * INTO v_part
    FROM readable_part(p_meter_id, p_from, p_to, CASE p_resolution WHEN '1m' THEN INTERVAL '1 minute' ELSE INTERVAL '15 minutes' END);
    IF p_resolution = '1m' THEN
        RETURN QUERY
        SELECT a.bucket, a.bucket + INTERVAL '1 minute',
               a.voltage_l1_v_sum / nullif(a.voltage_l1_v_count, 0), a.voltage_l1_v_min, a.voltage_l1_v_max,
               a.voltage_l2_v_sum / nullif(a.voltage_l2_v_count, 0), a.voltage_l2_v_min, a.voltage_l2_v_max,
               a.voltage_l3_v_sum / nullif(a.voltage_l3_v_count, 0), a.voltage_l3_v_min, a.voltage_l3_v_max,
               a.current_l1_a_sum / nullif(a.current_l1_a_count, 0), a.current_l1_a_min, a.current_l1_a_max,
               a.current_l2_a_sum / nullif(a.current_l2_a_count, 0), a.current_l2_a_min, a.current_l2_a_max,
               a.current_l3_a_sum / nullif(a.current_l3_a_count, 0), a.current_l3_a_min, a.current_l3_a_max,
               a.frequency_hz_sum / nullif(a.frequency_hz_count, 0), a.frequency_hz_min, a.frequency_hz_max,
               a.power_factor_sum / nullif(a.power_factor_count, 0), a.power_factor_min, a.power_factor_max
        FROM aggregates_1m AS a
        WHERE a.meter_id = p_meter_id AND a.bucket >= v_part.lo AND a.bucket < v_part.hi
        ORDER BY a.bucket LIMIT p_limit;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT p.start_time, p.end_time,
           sum(a.voltage_l1_v_sum) / nullif(sum(a.voltage_l1_v_count), 0), min(a.voltage_l1_v_min), max(a.voltage_l1_v_max),
           sum(a.voltage_l2_v_sum) / nullif(sum(a.voltage_l2_v_count), 0), min(a.voltage_l2_v_min), max(a.voltage_l2_v_max),
           sum(a.voltage_l3_v_sum) / nullif(sum(a.voltage_l3_v_count), 0), min(a.voltage_l3_v_min), max(a.voltage_l3_v_max),
           sum(a.current_l1_a_sum) / nullif(sum(a.current_l1_a_count), 0), min(a.current_l1_a_min), max(a.current_l1_a_max),
           sum(a.current_l2_a_sum) / nullif(sum(a.current_l2_a_count), 0), min(a.current_l2_a_min), max(a.current_l2_a_max),
           sum(a.current_l3_a_sum) / nullif(sum(a.current_l3_a_count), 0), min(a.current_l3_a_min), max(a.current_l3_a_max),
           sum(a.frequency_hz_sum) / nullif(sum(a.frequency_hz_count), 0), min(a.frequency_hz_min), max(a.frequency_hz_max),
           sum(a.power_factor_sum) / nullif(sum(a.power_factor_count), 0), min(a.power_factor_min), max(a.power_factor_max)
    FROM (SELECT q.bucket, CASE p_resolution WHEN '15m' THEN q.bucket ELSE q.start_time END AS start_time,
                 CASE p_resolution WHEN '15m' THEN q.bucket + INTERVAL '15 minutes' ELSE q.end_time END AS end_time
          FROM period_quarters(ARRAY[p_meter_id], v_part.lo, v_part.hi, v_unit, CASE v_unit WHEN 'hour' THEN 'UTC' ELSE p_zone END) AS q) AS p
    JOIN aggregates_15m AS a ON a.bucket = p.bucket AND a.meter_id = p_meter_id AND a.bucket >= v_part.lo AND a.bucket < v_part.hi
    GROUP BY p.start_time, p.end_time
    ORDER BY p.start_time LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION meter_channels(integer, timestamptz, timestamptz, text, text, integer) IS
    'Voltages (V), currents (A), frequency (Hz) and power factor of a meter by the intervals of meter_history(): mean of the readings, lowest, highest; NULL for a channel that has none. 1m, 15m, 1h, 1d, 1mo. Raises SG040, SG060, SG062';

CREATE OR REPLACE FUNCTION meter_readings(p_meter_id integer, p_from timestamptz, p_to timestamptz, p_limit integer DEFAULT 10000)
RETURNS TABLE ("time" timestamptz, flags smallint, power_w real, power_l1_w real, power_l2_w real, power_l3_w real,
               apparent_power_va real, reactive_power_var real, power_factor real, voltage_l1_v real, voltage_l2_v real,
               voltage_l3_v real, current_l1_a real, current_l2_a real, current_l3_a real, frequency_hz real,
               energy_import_wh bigint, energy_export_wh bigint, reactive_energy_import_varh bigint, reactive_energy_export_varh bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    RETURN QUERY
    SELECT w.time, w.flags, w.power_w, w.power_l1_w, w.power_l2_w, w.power_l3_w, w.apparent_power_va, w.reactive_power_var,
           w.power_factor, w.voltage_l1_v, w.voltage_l2_v, w.voltage_l3_v, w.current_l1_a, w.current_l2_a, w.current_l3_a,
           w.frequency_hz, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh
    FROM raw_readings AS w
    WHERE w.meter_id = p_meter_id AND w.time >= p_from AND w.time < p_to
    ORDER BY w.time LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION meter_readings(integer, timestamptz, timestamptz, integer) IS
    'Readings of a meter as they came, from p_from to p_to, at most p_limit, in order of time. Raises SG060, SG062';
GRANT EXECUTE ON FUNCTION resolution_for(timestamptz, timestamptz, integer, timestamptz, integer) TO segs_api;
GRANT EXECUTE ON FUNCTION meter_history(integer, timestamptz, timestamptz, text, text, integer) TO segs_api;
GRANT EXECUTE ON FUNCTION meter_readings(integer, timestamptz, timestamptz, integer) TO segs_api;
GRANT EXECUTE ON FUNCTION meter_channels(integer, timestamptz, timestamptz, text, text, integer) TO segs_api;
