-- What rules measure of meters in minutes and a few of them together.

CREATE OR REPLACE FUNCTION alert_minutes(p_meters integer[], p_from timestamptz, p_to timestamptz, p_minutes integer, p_terms jsonb)
RETURNS TABLE (meter_id integer, at timestamptz, metric text, phase smallint, value double precision, load_percent double precision)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH every AS MATERIALIZED (
        SELECT d.meter_id AS id, greatest(1, max(d.interval_ms) / 60000.0) AS minutes
        FROM device_registry AS d WHERE d.meter_id = ANY (p_meters) AND d.valid && tstzrange(p_from, p_to) GROUP BY d.meter_id
    ), win AS MATERIALIZED (
        SELECT w.*, f.nominal_v, f.phases, f.rated_w, f.exports
        FROM (
            SELECT a.meter_id AS id, date_bin(make_interval(mins => p_minutes), a.bucket, '2000-01-01 00:00+00') AS began,
                   sum(a.voltage_l1_v_sum) / nullif(sum(a.voltage_l1_v_count), 0) AS v1, min(a.voltage_l1_v_min) AS v1_min, max(a.voltage_l1_v_max) AS v1_max,
                   sum(a.voltage_l2_v_sum) / nullif(sum(a.voltage_l2_v_count), 0) AS v2, min(a.voltage_l2_v_min) AS v2_min, max(a.voltage_l2_v_max) AS v2_max,
                   sum(a.voltage_l3_v_sum) / nullif(sum(a.voltage_l3_v_count), 0) AS v3, min(a.voltage_l3_v_min) AS v3_min, max(a.voltage_l3_v_max) AS v3_max,
                   nullif(sum(a.frequency_hz_sum) / nullif(sum(a.frequency_hz_count), 0), 0) AS hz,
                   sum(a.power_w_sum) / nullif(sum(a.power_w_count), 0) AS w, min(a.power_w_min) AS w_min, max(a.power_w_max) AS w_max, sum(a.power_w_count) AS w_count,
                   sum(abs(a.power_factor_sum)) / nullif(sum(a.power_factor_count), 0) AS pf,
                   sum(a.energy_import_wh) AS in_wh, sum(COALESCE(a.energy_export_wh, 0)) AS out_wh, count(a.energy_import_wh) AS known, count(*) AS minutes
            FROM aggregates_1m AS a
            WHERE a.meter_id = ANY (p_meters) AND a.bucket >= p_from AND a.bucket < p_to
            GROUP BY a.meter_id, date_bin(make_interval(mins => p_minutes), a.bucket, '2000-01-01 00:00+00')
        ) AS w JOIN alert_facts(p_terms) AS f ON f.meter_id = w.id
        LEFT JOIN every AS e USING (id)
        -- Of less than half of it nobody knows; of a meter that is read every few minutes, of less than half of its readings.
        WHERE 2 * w.minutes * COALESCE(e.minutes, 1) >= p_minutes
    ), phased AS (
        SELECT w.id, w.began, p.phase, p.v, p.v_min, w.nominal_v,
               p.v_min < 0.5 * w.nominal_v
               AND greatest(CASE WHEN p.phase <> 1 THEN w.v1_max END, CASE WHEN p.phase <> 2 THEN w.v2_max END, CASE WHEN p.phase <> 3 THEN w.v3_max END) >= 0.9 * w.nominal_v AS lost
        FROM win AS w
        CROSS JOIN LATERAL (VALUES (1::smallint, w.v1, w.v1_min), (2::smallint, w.v2, w.v2_min), (3::smallint, w.v3, w.v3_min)) AS p (phase, v, v_min)
        WHERE p.v IS NOT NULL AND w.phases & (1 << p.phase - 1) <> 0
    ), told AS (
        SELECT p.id, p.began, 'voltage_percent' AS metric, p.phase, 100 * p.v / p.nominal_v AS value, NULL::double precision AS load_percent
        FROM phased AS p WHERE p.lost IS NOT TRUE
        UNION ALL
        SELECT p.id, p.began, 'phase_lost_s', p.phase,
               CASE WHEN p.lost THEN phase_lost_s(p.id, p.phase, p.began, p.began + make_interval(mins => p_minutes), p.nominal_v) ELSE 0 END, NULL
        FROM phased AS p WHERE p_minutes = 1
        UNION ALL
        SELECT w.id, w.began, m.metric, 0::smallint, m.value, 100 * abs(w.w) / w.rated_w
        FROM win AS w
        CROSS JOIN LATERAL (SELECT (w.v1 + w.v2 + w.v3) / 3 AS v, 60.0 / nullif(w.known, 0) * (w.in_wh - w.out_wh) AS w) AS mean
        CROSS JOIN LATERAL (VALUES
            ('frequency_hz', w.hz),
            ('unbalance_percent', CASE WHEN w.phases = 7 AND least(w.v1, w.v2, w.v3) >= 0.5 * w.nominal_v
                                       THEN 100 * greatest(abs(w.v1 - mean.v), abs(w.v2 - mean.v), abs(w.v3 - mean.v)) / mean.v END),
            ('power_factor', w.pf),
            ('load_percent', 100 * abs(w.w) / w.rated_w),
            ('power_w', w.w),
            ('reverse_power_w', CASE WHEN NOT w.exports THEN -w.w END),
            ('stuck_power_w', CASE WHEN p_minutes >= 15 AND w.known >= p_minutes - 1 THEN
                CASE WHEN w.w_count >= 5 AND w.w_min = w.w_max AND w.in_wh + w.out_wh > 0
                      -- A register that moves by large steps is now ahead, now behind.
                      AND abs(w.w - mean.w) * w.known / 60 > 2 + 2 * usual_minute_wh(w.id, w.began)
                     THEN abs(w.w - mean.w) ELSE 0 END END),
            ('stuck_register_wh', CASE WHEN p_minutes >= 15 AND w.known >= p_minutes - 1 THEN
                CASE WHEN w.in_wh = 0 AND w.out_wh = 0 AND abs(w.w) * w.known / 60 > 2 + 2 * usual_minute_wh(w.id, w.began)
                     THEN abs(w.w) * w.known / 60 ELSE 0 END END),
            ('register_backwards', CASE WHEN p_minutes = 1 THEN
                (SELECT count(*) FROM register_events AS e
                 WHERE e.meter_id = w.id AND e.kind = 'backwards' AND e.at >= w.began AND e.at < w.began + make_interval(mins => p_minutes))::double precision END)
        ) AS m (metric, value)
    )
    SELECT t.id, t.began + make_interval(mins => p_minutes), t.metric, t.phase, t.value, t.load_percent FROM told AS t WHERE t.value IS NOT NULL
$$;
COMMENT ON FUNCTION alert_minutes(integer[], timestamptz, timestamptz, integer, jsonb) IS
    'What is measured of meters in each window of p_minutes from p_from to p_to, from minutes; at is the end of the window. A phase that is not connected tells nothing, nor does the voltage of one that is lost';
GRANT EXECUTE ON FUNCTION alert_minutes(integer[], timestamptz, timestamptz, integer, jsonb) TO segs_worker;
