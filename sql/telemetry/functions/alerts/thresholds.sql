-- What the figures of a meter are compared with: its own thresholds before those of its region.

CREATE OR REPLACE FUNCTION alert_thresholds(p_terms jsonb, p_minutes integer)
RETURNS TABLE (meter_id integer, rule text, id integer, metric text, above boolean, raise double precision, clear double precision, worse double precision, load double precision)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT f.meter_id, r.rule, COALESCE(o.id, r.id), r.metric, r.above, s.times * t.raise, s.times * t.clear, s.times * t.worse, r.load
    FROM jsonb_to_recordset(p_terms -> 'rules') AS r ("of" text, rule text, id integer, metric text, above boolean, raise double precision, clear double precision,
        worse double precision, "window" integer, load double precision, rating double precision, enabled boolean)
    JOIN alert_facts(p_terms) AS f ON f.region = r."of"
    LEFT JOIN jsonb_to_recordset(p_terms -> 'own') AS o (meter integer, rule text, id integer, raise double precision, clear double precision, worse double precision,
        enabled boolean) ON o.meter = f.meter_id AND o.rule = r.rule
    CROSS JOIN LATERAL (SELECT CASE WHEN o.id IS NULL THEN r.raise ELSE o.raise END AS raise, CASE WHEN o.id IS NULL THEN r.clear ELSE o.clear END AS clear,
                               CASE WHEN o.id IS NULL THEN r.worse ELSE o.worse END AS worse) AS t
    CROSS JOIN LATERAL (SELECT greatest(1, COALESCE(r.rating / 100 * f.rated_w / nullif(t.raise, 0), 1)) AS times) AS s
    WHERE r."window" = p_minutes AND t.raise IS NOT NULL AND COALESCE(o.enabled, r.enabled)
$$;
COMMENT ON FUNCTION alert_thresholds(jsonb, integer) IS
    'Which rules with windows of p_minutes hold for each meter of alert_terms() in p_terms, and its thresholds, in the unit of the metric; load is the percent of its rating above which they hold, NULL for always';
GRANT EXECUTE ON FUNCTION alert_thresholds(jsonb, integer) TO segs_worker;
