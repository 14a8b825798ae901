-- What rules measure of meters in minutes and a few of them together.

CREATE OR REPLACE FUNCTION alert_minutes(p_meters integer[], p_from timestamptz, p_to timestamptz, p_minutes integer, p_terms jsonb)
RETURNS TABLE (meter_id integer, at timestamptz, metric text, phase smallint, value double precision, load_percent double precision)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH every AS MATERIALIZED (
        SELECT d.meter_id, greatest(1, max(d.interval_ms) / 60000.0) AS minutes
        FROM device_registry AS d WHERE d.meter_id = ANY (p_meters) AND d.valid && tstzrange(p_from, p_to) GROUP BY d.meter_id
    ), threshold AS MATERIALIZED (
        SELECT t.* FROM alert_thresholds(p_terms, p_minutes) AS t
    ), backwards AS MATERIALIZED (
        SELECT e.meter_id, date_bin(make_interval(mins => p_minutes), e.at, '2000-01-01 00:00+00') AS began, count(*)::double precision AS reads
        FROM register_events AS e
        WHERE p_minutes = 1 AND e.meter_id = ANY (p_meters) AND e.kind = 'backwards' AND e.at >= p_from AND e.at < p_to
        GROUP BY 1, 2
    ), win AS MATERIALIZED (
        -- One row a window: only of what is beyond a threshold each measure becomes a row of its own.
        SELECT w.id, w.began, 100 * abs(w.w) / w.rated_w AS load_percent,
               CASE WHEN w.lost1 IS FALSE THEN 100 * w.v1 / w.nominal_v END AS voltage1,
               CASE WHEN w.lost2 IS FALSE THEN 100 * w.v2 / w.nominal_v END AS voltage2,
               CASE WHEN w.lost3 IS FALSE THEN 100 * w.v3 / w.nominal_v END AS voltage3,
               CASE WHEN p_minutes = 1 THEN CASE WHEN w.lost1 THEN phase_lost_s(w.id, 1, w.began, w.began + INTERVAL '1 minute', w.nominal_v) WHEN NOT w.lost1 THEN 0 END END AS lost1,
               CASE WHEN p_minutes = 1 THEN CASE WHEN w.lost2 THEN phase_lost_s(w.id, 2, w.began, w.began + INTERVAL '1 minute', w.nominal_v) WHEN NOT w.lost2 THEN 0 END END AS lost2,
               CASE WHEN p_minutes = 1 THEN CASE WHEN w.lost3 THEN phase_lost_s(w.id, 3, w.began, w.began + INTERVAL '1 minute', w.nominal_v) WHEN NOT w.lost3 THEN 0 END END AS lost3,
               w.hz,
               CASE WHEN w.phases = 7 AND least(w.v1, w.v2, w.v3) >= 0.5 * w.nominal_v
                    THEN 100 * greatest(abs(w.v1 - w.v), abs(w.v2 - w.v), abs(w.v3 - w.v)) / w.v END AS unbalance,
               w.pf, w.w, CASE WHEN NOT w.exports THEN -w.w END AS reverse_w,
               CASE WHEN p_minutes >= 15 AND w.known >= p_minutes - 1 THEN
                   CASE WHEN w.w_count >= 5 AND w.w_min = w.w_max AND w.in_wh + w.out_wh > 0
                         -- A register that moves by large steps is now ahead, now behind.
                         AND abs(w.w - w.register_w) * w.known / 60 > 2 + 2 * usual_minute_wh(w.id, w.began)
                        THEN abs(w.w - w.register_w) ELSE 0 END END AS stuck_w,
               CASE WHEN p_minutes >= 15 AND w.known >= p_minutes - 1 THEN
                   CASE WHEN w.in_wh = 0 AND w.out_wh = 0 AND abs(w.w) * w.known / 60 > 2 AND abs(w.w) * w.known / 60 > 2 + 2 * usual_minute_wh(w.id, w.began)
                        THEN abs(w.w) * w.known / 60 ELSE 0 END END AS stuck_wh,
               CASE WHEN p_minutes = 1 THEN COALESCE(b.reads, 0) END AS backwards
        FROM (
            SELECT a.*, f.*, (a.v1 + a.v2 + a.v3) / 3 AS v, 60 * (a.in_wh - a.out_wh) / nullif(a.known, 0) AS register_w,
                   -- NULL where there is no such phase.
                   CASE WHEN a.v1 IS NOT NULL AND f.phases & 1 <> 0 THEN COALESCE(a.v1_min < 0.5 * f.nominal_v AND greatest(a.v2_max, a.v3_max) >= 0.9 * f.nominal_v, false) END AS lost1,
                   CASE WHEN a.v2 IS NOT NULL AND f.phases & 2 <> 0 THEN COALESCE(a.v2_min < 0.5 * f.nominal_v AND greatest(a.v1_max, a.v3_max) >= 0.9 * f.nominal_v, false) END AS lost2,
                   CASE WHEN a.v3 IS NOT NULL AND f.phases & 4 <> 0 THEN COALESCE(a.v3_min < 0.5 * f.nominal_v AND greatest(a.v1_max, a.v2_max) >= 0.9 * f.nominal_v, false) END AS lost3
            FROM (
                SELECT a.meter_id AS id, date_bin(make_interval(mins => p_minutes), a.bucket, '2000-01-01 00:00+00') AS began,
                       sum(a.voltage_l1_v_sum) / nullif(sum(a.voltage_l1_v_count), 0) AS v1, min(a.voltage_l1_v_min) AS v1_min, max(a.voltage_l1_v_max) AS v1_max,
                       sum(a.voltage_l2_v_sum) / nullif(sum(a.voltage_l2_v_count), 0) AS v2, min(a.voltage_l2_v_min) AS v2_min, max(a.voltage_l2_v_max) AS v2_max,
                       sum(a.voltage_l3_v_sum) / nullif(sum(a.voltage_l3_v_count), 0) AS v3, min(a.voltage_l3_v_min) AS v3_min, max(a.voltage_l3_v_max) AS v3_max,
                       nullif(sum(a.frequency_hz_sum) / nullif(sum(a.frequency_hz_count), 0), 0) AS hz,
                       sum(a.power_w_sum) / nullif(sum(a.power_w_count), 0) AS w, min(a.power_w_min) AS w_min, max(a.power_w_max) AS w_max, sum(a.power_w_count) AS w_count,
                       sum(abs(a.power_factor_sum)) / nullif(sum(a.power_factor_count), 0) AS pf,
                       sum(a.energy_import_wh::double precision) AS in_wh, sum(COALESCE(a.energy_export_wh, 0)::double precision) AS out_wh,
                       count(a.energy_import_wh) AS known, count(*) AS minutes
                FROM aggregates_1m AS a
                WHERE a.meter_id = ANY (p_meters) AND a.bucket >= p_from AND a.bucket < p_to
                GROUP BY a.meter_id, date_bin(make_interval(mins => p_minutes), a.bucket, '2000-01-01 00:00+00')
            ) AS a JOIN alert_facts(p_terms) AS f ON f.meter_id = a.id
            LEFT JOIN every AS e ON e.meter_id = a.id
            -- Of less than half of it nobody knows; of a meter that is read every few minutes, of less than half of its readings.
            WHERE 2 * a.minutes * COALESCE(e.minutes, 1) >= p_minutes
            -- Each of these is worked out once.
            OFFSET 0
        ) AS w LEFT JOIN backwards AS b ON (b.meter_id, b.began) = (w.id, w.began)
    ), measure AS MATERIALIZED (
        -- What the columns are called, in the order in which they are listed below.
        SELECT ARRAY['voltage_percent', 'voltage_percent', 'voltage_percent', 'phase_lost_s', 'phase_lost_s', 'phase_lost_s', 'frequency_hz', 'unbalance_percent', 'power_factor',
                     'load_percent', 'power_w', 'reverse_power_w', 'stuck_power_w', 'stuck_register_wh', 'register_backwards'] AS metrics,
               ARRAY[1, 2, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]::smallint[] AS phases
    ), extreme AS MATERIALIZED (
        SELECT w.id,
               ARRAY[min(w.voltage1), min(w.voltage2), min(w.voltage3), min(w.lost1), min(w.lost2), min(w.lost3), min(w.hz), min(w.unbalance), min(w.pf),
                     min(w.load_percent), min(w.w), min(w.reverse_w), min(w.stuck_w), min(w.stuck_wh), min(w.backwards)] AS lowest,
               ARRAY[max(w.voltage1), max(w.voltage2), max(w.voltage3), max(w.lost1), max(w.lost2), max(w.lost3), max(w.hz), max(w.unbalance), max(w.pf),
                     max(w.load_percent), max(w.w), max(w.reverse_w), max(w.stuck_w), max(w.stuck_wh), max(w.backwards)] AS highest
        FROM win AS w GROUP BY w.id
    ), open AS MATERIALIZED (
        SELECT (o ->> 0)::integer AS meter, o ->> 1 AS rule, (o ->> 2)::smallint AS phase FROM jsonb_array_elements(p_terms -> 'open') AS o
    ), wanted AS MATERIALIZED (
        SELECT DISTINCT u.id, u.nth
        FROM (SELECT e.id, m.* FROM extreme AS e CROSS JOIN measure AS n
              CROSS JOIN LATERAL unnest(n.metrics, n.phases, e.lowest, e.highest) WITH ORDINALITY AS m (metric, phase, lowest, highest, nth)) AS u
        JOIN threshold AS t ON (t.meter_id, t.metric) = (u.id, u.metric)
        WHERE greatest(alert_level(u.lowest, t.above, t.raise, t.clear, t.worse), alert_level(u.highest, t.above, t.raise, t.clear, t.worse)) >= 2
           OR (u.id, t.rule, u.phase) IN (SELECT o.meter, o.rule, o.phase FROM open AS o)
    )
    SELECT m.id, m.began + make_interval(mins => p_minutes), n.metrics[m.nth], n.phases[m.nth], m.value, m.load_percent
    FROM (SELECT w.id, w.began, w.load_percent, x.nth,
                 (ARRAY[w.voltage1, w.voltage2, w.voltage3, w.lost1, w.lost2, w.lost3, w.hz, w.unbalance, w.pf,
                        w.load_percent, w.w, w.reverse_w, w.stuck_w, w.stuck_wh, w.backwards])[x.nth] AS value
          FROM wanted AS x JOIN win AS w USING (id) OFFSET 0) AS m
    CROSS JOIN measure AS n
    WHERE m.value IS NOT NULL
$$;
COMMENT ON FUNCTION alert_minutes(integer[], timestamptz, timestamptz, integer, jsonb) IS
    'What is measured of meters in each window of p_minutes from p_from to p_to, from minutes: of each meter the measures that a rule is raised by in one of them, or that something open is about; at is the end of the window. A phase that is not connected tells nothing, nor does the voltage of one that is lost';
GRANT EXECUTE ON FUNCTION alert_minutes(integer[], timestamptz, timestamptz, integer, jsonb) TO segs_worker;
