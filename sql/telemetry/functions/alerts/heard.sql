-- What rules measure of gateways and regions: what was heard last.

CREATE OR REPLACE FUNCTION alert_samples_of_gateways(p_terms jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT COALESCE(jsonb_agg(jsonb_build_object('id', r.id, 'gateway', g.gateway_id, 'phase', 0, 'at', m.at, 'value', m.value, 'threshold', r.raise, 'level', l.level, 'detail', d.detail)),
                    '[]')
    FROM jsonb_to_recordset(p_terms -> 'rules') AS r ("of" integer, rule text, id integer, metric text, above boolean, raise double precision, clear double precision,
        worse double precision)
    JOIN gateway_reports AS g ON g.gateway_id = r."of"
    CROSS JOIN LATERAL (SELECT date_trunc('minute', g.received_at) AS at,
                               CASE r.metric WHEN 'clock_off_s' THEN abs(g.clock_ahead_s) WHEN 'gateway_troubles' THEN COALESCE(jsonb_array_length(g.report -> 'troubles'), 0) END
                                   AS value) AS m
    CROSS JOIN LATERAL (SELECT alert_level(m.value, r.above, r.raise, r.clear, r.worse) AS level) AS l
    -- As many as people read; the gateway's own page has all.
    CROSS JOIN LATERAL (SELECT string_agg(CASE WHEN length(t.line) > 100 THEN left(t.line, 99) || '…' ELSE t.line END, '; ' ORDER BY t.n) FILTER (WHERE t.n <= 3)
                               || CASE WHEN count(*) > 3 THEN '; …' ELSE '' END AS detail
                        FROM (SELECT e.line, row_number() OVER (ORDER BY e.n) AS n
                                FROM jsonb_array_elements_text(g.report -> 'troubles') WITH ORDINALITY AS e (line, n) WHERE e.line <> '') AS t
                        WHERE r.metric = 'gateway_troubles') AS d
    WHERE r.raise IS NOT NULL AND m.value IS NOT NULL AND g.received_at > p_now - INTERVAL '15 minutes'
      AND (l.level >= 2 OR p_terms -> 'open' @> jsonb_build_array(jsonb_build_array(g.gateway_id, r.rule)))
$$;
COMMENT ON FUNCTION alert_samples_of_gateways(jsonb, timestamptz) IS 'What alerts_advance() has to know of gateways that reported within the last 15 minutes, by alert_terms_of(''gateway'') in p_terms';

CREATE OR REPLACE FUNCTION alert_samples_of_regions(p_terms jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT COALESCE(jsonb_agg(jsonb_build_object('id', r.id, 'region', o.region, 'phase', 0, 'at', o.bucket + INTERVAL '15 minutes', 'value', o.load_percent,
                                                 'threshold', r.raise, 'level', l.level)), '[]')
    FROM jsonb_to_recordset(p_terms -> 'rules') AS r ("of" text, rule text, id integer, metric text, above boolean, raise double precision, clear double precision,
        worse double precision)
    JOIN regional_15m AS o ON o.region = r."of" AND r.metric = 'region_load_percent'
    CROSS JOIN LATERAL (SELECT alert_level(o.load_percent, r.above, r.raise, r.clear, r.worse) AS level) AS l
    WHERE r.raise IS NOT NULL AND o.load_percent IS NOT NULL AND o.bucket > p_now - INTERVAL '2 hours' AND o.bucket + INTERVAL '15 minutes' <= p_now
      -- What other meters are still to come for is not known yet.
      AND NOT EXISTS (SELECT FROM dirty_regions AS d WHERE d.region = o.region AND d.bucket = o.bucket)
$$;
COMMENT ON FUNCTION alert_samples_of_regions(jsonb, timestamptz) IS 'What alerts_advance() has to know of the last two hours of regions, by alert_terms_of(''region'') in p_terms';
GRANT EXECUTE ON FUNCTION alert_samples_of_gateways(jsonb, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION alert_samples_of_regions(jsonb, timestamptz) TO segs_worker;
