-- Which phases a meter has, and for how long one was lost.

CREATE OR REPLACE FUNCTION alert_facts(p_terms jsonb)
RETURNS TABLE (meter_id integer, region text, nominal_v double precision, phases integer, rated_w double precision, exports boolean)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT f.meter_id, e ->> 1, (e ->> 2)::double precision, COALESCE((e ->> 3)::integer, p.phases, 0), (e ->> 4)::double precision, (e ->> 5)::boolean
    FROM jsonb_array_elements(p_terms -> 'meters') AS e
    CROSS JOIN LATERAL (SELECT (e ->> 0)::integer AS meter_id) AS f
    LEFT JOIN meter_phases AS p ON p.meter_id = f.meter_id
$$;
COMMENT ON FUNCTION alert_facts(jsonb) IS 'The meters of alert_terms() of the domain database, and the phases that they have';

CREATE OR REPLACE FUNCTION note_phases(p_meters integer[], p_from timestamptz, p_to timestamptz, p_terms jsonb) RETURNS void
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    INSERT INTO meter_phases AS p (meter_id, phases)
    SELECT s.meter_id, s.phases
    FROM (SELECT a.meter_id, CASE WHEN a.v1 >= f.nominal_v / 2 THEN 1 ELSE 0 END | CASE WHEN a.v2 >= f.nominal_v / 2 THEN 2 ELSE 0 END
                             | CASE WHEN a.v3 >= f.nominal_v / 2 THEN 4 ELSE 0 END AS phases
          FROM (SELECT a.meter_id, max(a.voltage_l1_v_max) AS v1, max(a.voltage_l2_v_max) AS v2, max(a.voltage_l3_v_max) AS v3
                FROM aggregates_1m AS a
                -- One that has all three has nothing more to tell.
                WHERE a.meter_id = ANY (ARRAY(SELECT u FROM unnest(p_meters) AS u EXCEPT SELECT o.meter_id FROM meter_phases AS o WHERE o.phases = 7))
                  AND a.bucket >= p_from AND a.bucket < p_to
                GROUP BY a.meter_id) AS a
          JOIN alert_facts(p_terms) AS f USING (meter_id)) AS s
    WHERE s.phases > 0 AND NOT EXISTS (SELECT FROM meter_phases AS o WHERE o.meter_id = s.meter_id AND o.phases & s.phases = s.phases)
    ON CONFLICT (meter_id) DO UPDATE SET phases = p.phases | excluded.phases
$$;
COMMENT ON FUNCTION note_phases(integer[], timestamptz, timestamptz, jsonb) IS 'Notes phases that had voltage from p_from to p_to';

CREATE OR REPLACE FUNCTION phase_lost_s(p_meter_id integer, p_phase integer, p_from timestamptz, p_to timestamptz, p_nominal_v double precision) RETURNS double precision
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH reading AS (
        SELECT r.time, least(lead(r.time, 1, p_to) OVER (ORDER BY r.time), r.time + 2 * make_interval(secs => d.interval_ms / 1000.0)) AS until,
               CASE p_phase WHEN 1 THEN r.voltage_l1_v WHEN 2 THEN r.voltage_l2_v ELSE r.voltage_l3_v END < 0.5 * p_nominal_v
               AND greatest(CASE WHEN p_phase <> 1 THEN r.voltage_l1_v END, CASE WHEN p_phase <> 2 THEN r.voltage_l2_v END,
                            CASE WHEN p_phase <> 3 THEN r.voltage_l3_v END) >= 0.9 * p_nominal_v AS lost
        FROM raw_readings AS r
        LEFT JOIN device_registry AS d ON d.meter_id = r.meter_id AND d.valid @> r.time
        -- One that began before goes on.
        WHERE r.meter_id = p_meter_id AND r.time >= p_from - INTERVAL '30 seconds' AND r.time < p_to
    ), island AS (
        SELECT r.*, count(*) FILTER (WHERE r.lost IS NOT TRUE) OVER (ORDER BY r.time) AS nth FROM reading AS r
    )
    SELECT COALESCE(max(s.seconds), 0)
    FROM (SELECT EXTRACT(epoch FROM max(i.until) - min(i.time)) AS seconds FROM island AS i WHERE i.lost GROUP BY i.nth HAVING max(i.until) > p_from) AS s
$$;
COMMENT ON FUNCTION phase_lost_s(integer, integer, timestamptz, timestamptz, double precision) IS
    'The longest time from p_from to p_to that a phase was below half of its nominal voltage while another one had it, seconds, from readings; it may have begun 30 s before';
GRANT EXECUTE ON FUNCTION alert_facts(jsonb) TO segs_worker;
GRANT EXECUTE ON FUNCTION note_phases(integer[], timestamptz, timestamptz, jsonb) TO segs_worker;
GRANT EXECUTE ON FUNCTION phase_lost_s(integer, integer, timestamptz, timestamptz, double precision) TO segs_worker;
