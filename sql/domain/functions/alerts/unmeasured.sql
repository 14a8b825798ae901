-- Alerts end with what is measured. Of what is not measured any more nothing will ever say that it is over: a meter left, a gateway is
-- out of service, a customer took a threshold back, a phase is not connected after all.

CREATE OR REPLACE FUNCTION alert_states_unmeasured(p_step_min integer, p_now timestamptz) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH open AS MATERIALIZED (
        SELECT s.alert_state_id, s.meter_id, s.rule, s.phase, r.metric
          FROM alert_states s JOIN alert_rules r USING (alert_rule_id) JOIN alert_metrics c USING (metric)
         WHERE c.subject = 'meter' AND c.step_min = p_step_min
    ), terms AS MATERIALIZED (
        -- The same by which they are measured.
        SELECT alert_terms(ARRAY(SELECT DISTINCT o.meter_id FROM open AS o), p_step_min, p_now) AS t
    )
    SELECT o.alert_state_id
      FROM open AS o
      LEFT JOIN (SELECT (e ->> 0)::integer AS meter_id, e ->> 1 AS region, (e ->> 3)::integer AS phases, e ->> 4 IS NOT NULL AS rated, (e ->> 5)::boolean AS exports
                   FROM terms CROSS JOIN LATERAL jsonb_array_elements(t -> 'meters') AS e) AS m USING (meter_id)
      LEFT JOIN (SELECT g.* FROM terms CROSS JOIN LATERAL jsonb_to_recordset(t -> 'rules') AS g ("of" text, rule text, raise double precision, enabled boolean)) AS g
             ON (g."of", g.rule) = (m.region, o.rule)
      LEFT JOIN (SELECT w.* FROM terms CROSS JOIN LATERAL jsonb_to_recordset(t -> 'own') AS w (meter integer, rule text, raise double precision, enabled boolean)) AS w
             ON (w.meter, w.rule) = (o.meter_id, o.rule)
     WHERE (g.rule IS NOT NULL AND CASE WHEN w.rule IS NULL THEN g.enabled AND g.raise IS NOT NULL ELSE w.enabled AND w.raise IS NOT NULL END) IS NOT TRUE
        OR o.metric = 'reverse_power_w' AND m.exports
        OR o.metric = 'load_percent' AND NOT m.rated
        OR o.phase > 0 AND m.phases & (1 << o.phase - 1) = 0
$$;
COMMENT ON FUNCTION alert_states_unmeasured(integer, timestamptz) IS 'States of meters by rules whose metric is worked out in steps of p_step_min, of which alert_samples() of the telemetry database tells nothing any more';

CREATE OR REPLACE FUNCTION alerts_unmeasured(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_rules text[];
    v_rule text;
    v_resolved integer;
    -- Silence is not among them: who is not silent any more, or not missed, is known each time.
    v_states CONSTANT bigint[] := ARRAY(
        SELECT alert_states_unmeasured(1, p_now)
        UNION ALL SELECT alert_states_unmeasured(15, p_now)
        UNION ALL
        SELECT s.alert_state_id FROM alert_states s
         WHERE s.gateway_id IS NOT NULL
           AND (s.gateway_id, s.rule) NOT IN (SELECT g."of", g.rule FROM jsonb_to_recordset(alert_terms_of('gateway', p_now) -> 'rules') AS g ("of" integer, rule text, raise double precision)
                                               WHERE g.raise IS NOT NULL));
BEGIN
    v_rules := ARRAY(SELECT s.rule FROM alert_states s JOIN alert_groups g USING (rule) WHERE s.alert_state_id = ANY (v_states)
                     UNION
                     -- What stands for many and came and went is over some time after the last of them.
                     SELECT g.rule FROM alerts a JOIN alert_groups g ON g.group_rule = a.rule WHERE a.state = 'clearing'
                     ORDER BY rule);
    v_resolved := alerts_let_go(v_states, 'nothing is measured for the rule any more', p_now);
    FOREACH v_rule IN ARRAY v_rules LOOP
        PERFORM alerts_group(v_rule, p_now);
    END LOOP;
    RETURN v_resolved;
END
$$;
COMMENT ON FUNCTION alerts_unmeasured(timestamptz) IS 'Resolves what is open though nothing is measured for its rule any more: of meters and gateways that left, and of thresholds that are not there; how many alerts';
GRANT EXECUTE ON FUNCTION alerts_unmeasured(timestamptz) TO segs_worker;
