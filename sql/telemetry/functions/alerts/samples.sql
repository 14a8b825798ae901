-- What rules measure, window by window. The domain database says by which rules, for which meters, and what is open; only what it has
-- to know goes back: what is beyond a threshold, and whatever is of something that is open.

CREATE OR REPLACE FUNCTION alert_judged(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_step_min integer, p_terms jsonb, p_history boolean, p_now timestamptz)
RETURNS TABLE (id integer, meter integer, phase smallint, at timestamptz, value double precision, threshold double precision, level smallint)
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- How many of p_terms there are of each nobody can say beforehand: what is quickest for ten takes for ever for thousands.
SET enable_nestloop = off
SET work_mem = '32MB'
AS $$
DECLARE
    v_origin CONSTANT timestamptz := '2000-01-01 00:00+00';
    v_minutes integer;
    v_width interval;
    v_from timestamptz;
    v_to timestamptz;
BEGIN
    IF p_step_min = 1 THEN
        PERFORM note_phases(p_meters, p_from, p_to, p_terms);
    END IF;
    FOR v_minutes IN SELECT DISTINCT (r ->> 'window')::integer FROM jsonb_array_elements(p_terms -> 'rules') AS r ORDER BY 1 LOOP
        v_width := make_interval(mins => v_minutes);
        v_from := date_bin(v_width, p_from, v_origin);
        -- One that is not over yet is looked at when it is.
        v_to := least(date_bin(v_width, p_to - INTERVAL '1 microsecond', v_origin) + v_width, date_bin(v_width, p_now, v_origin));
        IF NOT p_history AND v_minutes > p_step_min THEN
            PERFORM mark_window(p_step_min, p_meters, date_bin(v_width, p_to - INTERVAL '1 microsecond', v_origin) + v_width, p_now);
        END IF;
        CONTINUE WHEN v_to <= v_from;
        RETURN QUERY
        WITH judged AS MATERIALIZED (
            SELECT t.id, t.rule, m.meter_id, m.phase, m.at, m.value, t.raise,
                   CASE WHEN t.load IS NOT NULL AND m.load_percent > t.load IS NOT TRUE THEN 0::smallint
                        ELSE alert_level(m.value, t.above, t.raise, t.clear, t.worse) END AS level
            FROM (SELECT m.* FROM alert_minutes(p_meters, v_from, v_to, v_minutes, p_terms) AS m WHERE p_step_min = 1
                  UNION ALL
                  SELECT m.* FROM alert_quarters(p_meters, v_from, v_to, v_minutes, p_terms) AS m WHERE p_step_min = 15) AS m
            JOIN alert_thresholds(p_terms, v_minutes) AS t USING (meter_id, metric)
        )
        -- What begins in this span may end in it.
        SELECT j.id, j.meter_id, j.phase, j.at, j.value, j.raise, j.level
        FROM judged AS j
        WHERE j.level >= 2
           OR (j.meter_id, j.rule, j.phase) IN (SELECT r.meter_id, r.rule, r.phase FROM judged AS r WHERE r.level >= 2)
           OR NOT p_history AND (j.meter_id, j.rule, j.phase) IN (SELECT (o ->> 0)::integer, o ->> 1, (o ->> 2)::smallint FROM jsonb_array_elements(p_terms -> 'open') AS o);
    END LOOP;
END
$$;
COMMENT ON FUNCTION alert_judged(integer[], timestamptz, timestamptz, integer, jsonb, boolean, timestamptz) IS
    'What rules say of meters from p_from to p_to, by alert_terms() of the domain database in p_terms: samples beyond a threshold, those of the same rule, meter and phase beside them, and, unless it is history, those of what is open. at is the end of a window, value and threshold are in the unit of the metric, level is of alert_level()';

CREATE OR REPLACE FUNCTION alert_samples(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_step_min integer, p_terms jsonb, p_history boolean, p_now timestamptz) RETURNS jsonb
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    SELECT COALESCE(jsonb_agg(jsonb_build_object('id', j.id, 'meter', j.meter, 'phase', j.phase, 'at', j.at, 'value', j.value, 'threshold', j.threshold, 'level', j.level)), '[]')
    FROM alert_judged(p_meters, p_from, p_to, p_step_min, p_terms, p_history, p_now) AS j
$$;
COMMENT ON FUNCTION alert_samples(integer[], timestamptz, timestamptz, integer, jsonb, boolean, timestamptz) IS
    'The same as alerts_advance() and alerts_remember() of the domain database take it: an array of objects';
GRANT EXECUTE ON FUNCTION alert_judged(integer[], timestamptz, timestamptz, integer, jsonb, boolean, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION alert_samples(integer[], timestamptz, timestamptz, integer, jsonb, boolean, timestamptz) TO segs_worker;
