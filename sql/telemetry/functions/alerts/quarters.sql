-- What rules measure of meters in quarter-hours, hours and days.

CREATE OR REPLACE FUNCTION alert_quarters(p_meters integer[], p_from timestamptz, p_to timestamptz, p_minutes integer, p_terms jsonb)
RETURNS TABLE (meter_id integer, at timestamptz, metric text, phase smallint, value double precision, load_percent double precision)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH zone AS MATERIALIZED (
        SELECT DISTINCT ON (d.meter_id) d.meter_id, d.timezone FROM device_registry AS d WHERE d.meter_id = ANY (p_meters) ORDER BY d.meter_id, lower(d.valid) DESC
    ), win AS MATERIALIZED (
        SELECT a.meter_id, w.began, w.began + make_interval(mins => p_minutes) AS ended, sum(a.energy_import_wh)::double precision AS wh,
               bool_and(a.energy_import_wh IS NOT NULL AND a.coverage > 0) AS known, count(*) AS quarters
        FROM aggregates_15m AS a
        CROSS JOIN LATERAL (SELECT date_bin(make_interval(mins => p_minutes), a.bucket, '2000-01-01 00:00+00') AS began) AS w
        WHERE a.meter_id = ANY (p_meters) AND a.bucket >= p_from AND a.bucket < p_to
        GROUP BY a.meter_id, w.began
    ), wanted AS (
        SELECT (o ->> 'meter')::integer AS meter_id FROM jsonb_array_elements(p_terms -> 'own') AS o
        JOIN jsonb_array_elements(p_terms -> 'rules') AS r ON r ->> 'rule' = o ->> 'rule' AND r ->> 'metric' = 'day_energy_wh'
    ), measures AS MATERIALIZED (
        -- What no rule of such windows asks for costs nothing.
        SELECT array_agg(DISTINCT r ->> 'metric') AS names FROM jsonb_array_elements(p_terms -> 'rules') AS r WHERE (r ->> 'window')::integer = p_minutes
    ), told AS (
        SELECT w.meter_id, w.ended, 'day_energy_wh' AS metric, d.wh AS value
        FROM win AS w JOIN zone AS z USING (meter_id)
        CROSS JOIN LATERAL (
            SELECT sum(a.energy_import_wh)::double precision AS wh FROM aggregates_15m AS a
            WHERE a.meter_id = w.meter_id AND a.bucket < w.ended
              AND a.bucket >= date_trunc('day', (w.ended - INTERVAL '1 microsecond') AT TIME ZONE z.timezone) AT TIME ZONE z.timezone) AS d
        WHERE w.meter_id IN (SELECT n.meter_id FROM wanted AS n)
        UNION ALL
        SELECT w.meter_id, w.ended, 'idle_h',
               -- What generates is not idle.
               CASE WHEN w.wh = 0 AND w.known THEN
                   (SELECT CASE WHEN count(*) >= 94 AND sum(a.energy_import_wh) = 0 AND coalesce(sum(a.energy_export_wh), 0) = 0
                                 AND min(greatest(a.voltage_l1_v_sum / nullif(a.voltage_l1_v_count, 0), a.voltage_l2_v_sum / nullif(a.voltage_l2_v_count, 0),
                                                  a.voltage_l3_v_sum / nullif(a.voltage_l3_v_count, 0))) >= f.nominal_v / 2
                                 AND count(*) = count(coalesce(a.voltage_l1_v_sum, a.voltage_l2_v_sum, a.voltage_l3_v_sum)) THEN 24 ELSE 0 END
                    FROM aggregates_15m AS a WHERE a.meter_id = w.meter_id AND a.bucket >= w.ended - INTERVAL '24 hours' AND a.bucket < w.ended)
                    ELSE 0 END
        FROM win AS w JOIN alert_facts(p_terms) AS f USING (meter_id) WHERE 'idle_h' = ANY ((SELECT s.names FROM measures AS s)::text[])
        UNION ALL
        -- The least of few days is soon gone below. A household differs from itself by more than any share of its middle: what was seen before is as usual, and so is what differs from it by 200 Wh.
        SELECT w.meter_id, w.ended, 'usage_percent',
               CASE WHEN w.wh > u.most_wh + 200 THEN 100 * (w.wh / nullif(u.most_wh, 0) - 1) WHEN w.wh < u.least_wh - 200 AND u.days >= 6 THEN 100 * (w.wh / u.least_wh - 1) ELSE 0 END
        FROM win AS w JOIN usual_windows(p_meters, p_from, p_to, p_minutes) AS u USING (meter_id, began)
        WHERE 'usage_percent' = ANY ((SELECT s.names FROM measures AS s)::text[]) AND w.known AND w.quarters = p_minutes / 15
    )
    SELECT t.meter_id, t.ended, t.metric, 0::smallint, t.value, NULL::double precision FROM told AS t WHERE t.value IS NOT NULL
$$;
COMMENT ON FUNCTION alert_quarters(integer[], timestamptz, timestamptz, integer, jsonb) IS
    'What is measured of meters in each window of p_minutes from p_from to p_to, from quarter-hours; at is the end of the window';
GRANT EXECUTE ON FUNCTION alert_quarters(integer[], timestamptz, timestamptz, integer, jsonb) TO segs_worker;
