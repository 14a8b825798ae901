-- By what meters are looked at: rules, what they are rated for, and what is open. Telemetry measures by it and tells what it found.

CREATE OR REPLACE FUNCTION alert_terms(p_meters integer[], p_step_min integer, p_now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH buying AS MATERIALIZED (
        -- Every document has a rule; who may feed in has one that pays for it, or credits it.
        SELECT t.code FROM tariffs t
         WHERE t.valid @> p_now
           AND (t.document #>> '{metering,rule}' IN ('net_metering', 'buy_all_sell_all')
                OR EXISTS (SELECT FROM tariff_rates(t.document) AS r WHERE r.component = 'energy' AND r.sell > 0)
                OR EXISTS (SELECT FROM tariff_prices p WHERE p.code = t.code AND p.sell_per_kwh > 0))
    ), meter AS MATERIALIZED (
        SELECT m.meter_id, l.region, m.nominal_voltage_v, m.phases, m.rated_power_w,
               coalesce(m.exports,
                   EXISTS (SELECT FROM meter_generators g WHERE (g.meter_id = m.meter_id OR g.generator_id = m.meter_id) AND g.valid @> p_now)
                   OR EXISTS (SELECT FROM meter_tariffs a JOIN buying AS b USING (code) WHERE a.meter_id = m.meter_id AND a.valid @> p_now)) AS exports
          FROM meters m JOIN meter_locations l ON l.meter_id = m.meter_id AND l.valid @> p_now
         WHERE m.meter_id = ANY (p_meters) AND m.status IN ('registered', 'active', 'faulty')
    ), rule AS MATERIALIZED (
        SELECT r.* FROM alert_rules r JOIN alert_metrics c USING (metric)
         WHERE r.valid @> p_now AND c.subject = 'meter' AND c.step_min = p_step_min
    ), general AS (
        -- What is said of a region takes the place of what is said of all.
        SELECT DISTINCT ON (g.region, r.rule) g.region AS of_region, r.*
          FROM (SELECT DISTINCT m.region FROM meter AS m) AS g
          JOIN rule AS r ON r.meter_id IS NULL AND coalesce(r.region, g.region) = g.region
         ORDER BY g.region, r.rule, r.region NULLS LAST
    ), own AS (
        SELECT r.meter_id, r.rule, r.alert_rule_id, r.raise_at, r.clear_at, r.worse_at, r.enabled, 1 AS place FROM rule AS r WHERE r.meter_id = ANY (p_meters)
        UNION ALL
        -- What customers want to hear of their meters.
        SELECT m.meter_id, r.rule, r.alert_rule_id, w.threshold, w.threshold * 0.95, NULL, true, 2
          FROM meter AS m
          JOIN meter_owners o ON o.meter_id = m.meter_id AND o.valid @> p_now
          JOIN user_preferences p ON p.user_id = o.user_id
          JOIN general AS r ON r.of_region = m.region
          JOIN LATERAL (VALUES ('power_w', p.power_threshold_w), ('day_energy_wh', p.consumption_threshold_wh)) AS w (metric, threshold)
            ON w.metric = r.metric AND w.threshold IS NOT NULL
         WHERE r.raise_at IS NULL AND r.enabled
    )
    SELECT jsonb_build_object(
        'rules', (SELECT coalesce(jsonb_agg(jsonb_build_object('of', g.of_region, 'rule', g.rule, 'id', g.alert_rule_id, 'metric', g.metric, 'above', g.above,
                         'raise', g.raise_at, 'clear', g.clear_at, 'worse', g.worse_at, 'window', g.window_min, 'load', g.min_load_percent,
                         'rating', g.rating_percent, 'enabled', g.enabled)), '[]') FROM general AS g),
        'own', (SELECT coalesce(jsonb_agg(jsonb_build_object('meter', o.meter_id, 'rule', o.rule, 'id', o.alert_rule_id, 'raise', o.raise_at, 'clear', o.clear_at,
                       'worse', o.worse_at, 'enabled', o.enabled)), '[]')
                  FROM (SELECT DISTINCT ON (w.meter_id, w.rule) w.* FROM own AS w ORDER BY w.meter_id, w.rule, w.place) AS o),
        'meters', (SELECT coalesce(jsonb_agg(jsonb_build_array(m.meter_id, m.region, m.nominal_voltage_v, m.phases, m.rated_power_w, m.exports)), '[]') FROM meter AS m),
        'open', (SELECT coalesce(jsonb_agg(jsonb_build_array(s.meter_id, s.rule, s.phase)), '[]') FROM alert_states s WHERE s.meter_id = ANY (p_meters)))
$$;
COMMENT ON FUNCTION alert_terms(integer[], integer, timestamptz) IS 'What alert_samples() of the telemetry database needs to know of meters: rules of their regions whose metric is worked out in steps of p_step_min, what replaces them at single meters, nominal values, and which rules are not clear';
GRANT EXECUTE ON FUNCTION alert_terms(integer[], integer, timestamptz) TO segs_worker;

DROP FUNCTION IF EXISTS alert_message(text, integer, double precision, double precision, boolean);
CREATE OR REPLACE FUNCTION alert_message(p_metric text, p_phase integer, p_value double precision, p_threshold double precision, p_above boolean, p_detail text) RETURNS text
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT format('%s%s: %s%s, %s %s%s', m.title, CASE WHEN p_phase > 0 THEN ' of phase ' || p_phase ELSE '' END, n.value,
                  CASE WHEN m.unit = '' THEN '' ELSE ' ' || m.unit END, CASE WHEN p_above THEN 'above' ELSE 'below' END, n.threshold,
                  coalesce(' (' || p_detail || ')', ''))
      FROM alert_metrics m
     CROSS JOIN LATERAL (SELECT trim_scale(round(p_value::numeric, 2)) AS value, trim_scale(round(p_threshold::numeric, 2)) AS threshold) AS n
     WHERE m.metric = p_metric
$$;
COMMENT ON FUNCTION alert_message(text, integer, double precision, double precision, boolean, text) IS 'What was measured and what it was compared with, as a sentence; what it counts in brackets';

CREATE OR REPLACE FUNCTION severity_rank(p_severity text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position(ARRAY['low', 'medium', 'warning', 'high', 'critical'], p_severity);
COMMENT ON FUNCTION severity_rank(text) IS 'Severities in order: low 1, medium 2, warning 3, high 4, critical 5';

CREATE OR REPLACE FUNCTION alert_terms_of(p_subject text, p_now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH subject AS (
        SELECT to_jsonb(g.gateway_id) AS of, g.region FROM gateways g WHERE p_subject = 'gateway' AND g.disabled_at IS NULL
        UNION ALL
        SELECT to_jsonb(g.region), g.region FROM regions g WHERE p_subject = 'region'
    ), general AS (
        SELECT DISTINCT ON (s.of, r.rule) s.of, r.*
          FROM subject AS s
          JOIN alert_rules r ON r.valid @> p_now AND r.meter_id IS NULL AND (r.region IS NULL OR r.region = s.region)
          JOIN alert_metrics c ON c.metric = r.metric AND c.subject = p_subject
         ORDER BY s.of, r.rule, r.region NULLS LAST
    )
    SELECT jsonb_build_object(
        'rules', (SELECT coalesce(jsonb_agg(jsonb_build_object('of', g.of, 'rule', g.rule, 'id', g.alert_rule_id, 'metric', g.metric, 'above', g.above, 'raise', g.raise_at,
                         'clear', g.clear_at, 'worse', g.worse_at)), '[]') FROM general AS g WHERE g.enabled),
        'open', (SELECT coalesce(jsonb_agg(jsonb_build_array(coalesce(to_jsonb(s.gateway_id), to_jsonb(s.region)), s.rule)), '[]')
                   FROM alert_states s WHERE CASE p_subject WHEN 'gateway' THEN s.gateway_id IS NOT NULL ELSE s.region IS NOT NULL END))
$$;
COMMENT ON FUNCTION alert_terms_of(text, timestamptz) IS 'The same of gateways, or of regions';
GRANT EXECUTE ON FUNCTION alert_terms_of(text, timestamptz) TO segs_worker;
