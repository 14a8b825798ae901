-- What rules measure, window by window. The domain database says by which rules, for which meters, and what is open; only what it has
-- to know goes back: what is beyond a threshold, and whatever is of something that is open.

CREATE OR REPLACE FUNCTION alert_samples(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_step_min integer, p_terms jsonb, p_history boolean, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- How many of p_terms there are of each nobody can say beforehand: what is quickest for ten takes for ever for thousands.
SET enable_nestloop = off
AS $$
DECLARE
    v_origin CONSTANT timestamptz := '2000-01-01 00:00+00';
    v_minutes integer;
    v_width interval;
    v_from timestamptz;
    v_to timestamptz;
    v_found jsonb;
    v_samples jsonb := '[]';
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
        WITH rule AS MATERIALIZED (
            SELECT r.* FROM jsonb_to_recordset(p_terms -> 'rules') AS r ("of" text, rule text, id integer, metric text, above boolean, raise double precision, clear double precision,
                worse double precision, "window" integer, load double precision, rating double precision, enabled boolean)
            WHERE r."window" = v_minutes
        ), own AS MATERIALIZED (
            SELECT o.* FROM jsonb_to_recordset(p_terms -> 'own') AS o (meter integer, rule text, id integer, raise double precision, clear double precision, worse double precision,
                enabled boolean)
        ), open AS MATERIALIZED (
            SELECT (o ->> 0)::integer AS meter, o ->> 1 AS rule, (o ->> 2)::smallint AS phase FROM jsonb_array_elements(p_terms -> 'open') AS o
        ), measured AS MATERIALIZED (
            SELECT m.*, f.region, f.rated_w
            FROM (SELECT m.* FROM alert_minutes(p_meters, v_from, v_to, v_minutes, p_terms) AS m WHERE p_step_min = 1
                  UNION ALL
                  SELECT m.* FROM alert_quarters(p_meters, v_from, v_to, v_minutes, p_terms) AS m WHERE p_step_min = 15) AS m
            JOIN alert_facts(p_terms) AS f USING (meter_id)
        ), judged AS MATERIALIZED (
            SELECT COALESCE(o.id, r.id) AS id, r.rule, m.meter_id, m.phase, m.at, m.value, t.raise,
                   CASE WHEN r.load IS NOT NULL AND m.load_percent > r.load IS NOT TRUE THEN 0::smallint
                        ELSE alert_level(m.value, r.above, t.raise, t.clear, t.worse) END AS level
            FROM measured AS m
            JOIN rule AS r ON (r."of", r.metric) = (m.region, m.metric)
            LEFT JOIN own AS o ON o.meter = m.meter_id AND o.rule = r.rule
            CROSS JOIN LATERAL (SELECT greatest(1, COALESCE(r.rating / 100 * m.rated_w / nullif(CASE WHEN o.id IS NULL THEN r.raise ELSE o.raise END, 0), 1)) AS times) AS s
            CROSS JOIN LATERAL (SELECT s.times * CASE WHEN o.id IS NULL THEN r.raise ELSE o.raise END AS raise, s.times * CASE WHEN o.id IS NULL THEN r.clear ELSE o.clear END AS clear,
                                       s.times * CASE WHEN o.id IS NULL THEN r.worse ELSE o.worse END AS worse
                                -- Worked out once a row: alert_level() asks for them more than once, and is only then part of the plan.
                                OFFSET 0) AS t
            WHERE t.raise IS NOT NULL AND COALESCE(o.enabled, r.enabled)
        ), chosen AS (
            -- What begins in this span may end in it.
            SELECT j.* FROM judged AS j
            WHERE j.level >= 2
               OR (j.meter_id, j.rule, j.phase) IN (SELECT r.meter_id, r.rule, r.phase FROM judged AS r WHERE r.level >= 2)
               OR NOT p_history AND (j.meter_id, j.rule, j.phase) IN (SELECT o.meter, o.rule, o.phase FROM open AS o)
        )
        SELECT jsonb_agg(jsonb_build_object('id', c.id, 'meter', c.meter_id, 'phase', c.phase, 'at', c.at, 'value', c.value, 'threshold', c.raise, 'level', c.level))
        INTO v_found
        FROM chosen AS c;
        v_samples := v_samples || COALESCE(v_found, '[]');
    END LOOP;
    RETURN v_samples;
END
$$;
COMMENT ON FUNCTION alert_samples(integer[], timestamptz, timestamptz, integer, jsonb, boolean, timestamptz) IS
    'What alerts_advance() of the domain database has to know of meters, from p_from to p_to, by alert_terms() in p_terms: samples beyond a threshold, those of the same rule, meter and phase beside them, and, unless it is history, those of what is open';
GRANT EXECUTE ON FUNCTION alert_samples(integer[], timestamptz, timestamptz, integer, jsonb, boolean, timestamptz) TO segs_worker;
