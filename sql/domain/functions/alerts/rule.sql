-- Rules are changed by a new version: the one that was in force ends, and stays. What is open goes on under the new one, or is
-- resolved where no rule looks at it any more.

CREATE OR REPLACE FUNCTION alert_rule_in_force(p_rule text, p_region text, p_meter_id integer, p_now timestamptz) RETURNS alert_rules
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT r.* FROM alert_rules r
     WHERE r.rule = p_rule AND r.valid @> p_now
       AND (r.meter_id IS NULL OR r.meter_id = p_meter_id)
       AND (r.region IS NULL OR r.region = coalesce(p_region, (SELECT l.region FROM meter_locations l WHERE l.meter_id = p_meter_id AND l.valid @> p_now)))
     ORDER BY r.meter_id NULLS LAST, r.region NULLS LAST LIMIT 1
$$;
COMMENT ON FUNCTION alert_rule_in_force(text, text, integer, timestamptz) IS 'The version of a rule that holds in a region, or at a meter, or without both where nothing else is said; NULL where there is none';

CREATE OR REPLACE FUNCTION alert_rule_check(p_rule alert_rules, p_base alert_rules, p_now timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    v_metric alert_metrics;
    v_other alert_rules;
    v_window text;
BEGIN
    SELECT c.* INTO v_metric FROM alert_metrics c WHERE c.metric = p_rule.metric;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no metric %', p_rule.metric
            USING ERRCODE = 'SG113', HINT = (SELECT 'There are ' || string_agg(c.metric, ', ' ORDER BY c.metric) || '.' FROM alert_metrics c);
    END IF;
    IF EXISTS (SELECT FROM alert_groups g WHERE g.group_rule = p_rule.rule) THEN
        RAISE EXCEPTION '% is the name of alerts that stand for many', p_rule.rule USING ERRCODE = 'SG113', HINT = 'Give another name.';
    END IF;
    IF v_metric.metric = 'silent_intervals' AND p_rule.rule <> 'no_data' THEN
        RAISE EXCEPTION 'silence is looked at by the rule no_data alone' USING ERRCODE = 'SG113', HINT = 'Change that one, or give another metric.';
    END IF;
    SELECT r.* INTO v_other FROM alert_rules r WHERE r.rule = p_rule.rule AND r.valid @> p_now AND (r.metric, r.above) <> (p_rule.metric, p_rule.above) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'rule % is raised by %, %', p_rule.rule, v_other.metric, CASE WHEN v_other.above THEN 'above' ELSE 'below' END
            USING ERRCODE = 'SG113', HINT = 'Keep both, or give the rule another name.';
    END IF;
    v_window := CASE
        WHEN (v_metric.metric IN ('phase_lost_s', 'register_backwards') OR v_metric.step_min = 0) AND p_rule.window_min <> 1 THEN '1'
        WHEN v_metric.metric IN ('idle_h', 'usage_percent') AND p_rule.window_min NOT IN (15, 30, 60) THEN '15, 30 or 60'
        WHEN v_metric.metric IN ('stuck_power_w', 'stuck_register_wh') AND p_rule.window_min < 15 THEN '15 or more'
        WHEN v_metric.subject = 'region' AND p_rule.window_min <> 15 THEN '15'
        WHEN v_metric.step_min = 15 AND p_rule.window_min % 15 <> 0 THEN 'a multiple of 15' END;
    IF v_window IS NOT NULL THEN
        RAISE EXCEPTION '% is not measured over % minutes', p_rule.metric, p_rule.window_min USING ERRCODE = 'SG113', HINT = format('Its window_min is %s.', v_window);
    END IF;
    -- What would be said and do nothing.
    IF p_rule.min_load_percent IS NOT NULL AND (v_metric.step_min <> 1 OR v_metric.metric IN ('voltage_percent', 'phase_lost_s')) THEN
        RAISE EXCEPTION 'the load is not known where % is measured', p_rule.metric USING ERRCODE = 'SG113', HINT = 'Leave min_load_percent out.';
    END IF;
    IF p_rule.rating_percent IS NOT NULL AND (v_metric.step_min <> 1 OR v_metric.unit <> 'W') THEN
        RAISE EXCEPTION '% is no power to compare with a rating', p_rule.metric USING ERRCODE = 'SG113', HINT = 'Leave rating_percent out.';
    END IF;
    IF v_metric.metric = 'silent_intervals' AND (p_rule.for_s <> 0 OR p_rule.keep_s <> 0 OR p_rule.worse_at IS NOT NULL) THEN
        RAISE EXCEPTION 'silence begins and ends by raise_at, and gets worse by worse_after_s'
            USING ERRCODE = 'SG113', HINT = 'Leave for_s, keep_s and worse_at out.';
    END IF;
    IF severity_rank(p_rule.worse_severity) < severity_rank(p_rule.severity) THEN
        RAISE EXCEPTION 'what is worse would be %, and not so bad as %', p_rule.worse_severity, p_rule.severity USING ERRCODE = 'SG113', HINT = 'Give a worse_severity that is worse.';
    END IF;
    IF p_rule.category = 'tamper' AND p_rule.tells_owner THEN
        RAISE EXCEPTION 'whose meter it is does not hear of tampering' USING ERRCODE = 'SG113', HINT = 'Give tells_owner false.';
    END IF;
    IF p_rule.meter_id IS NOT NULL THEN
        IF v_metric.subject <> 'meter' THEN
            RAISE EXCEPTION '% is measured of a %, and not of a meter', p_rule.metric, v_metric.subject USING ERRCODE = 'SG113', HINT = 'Set the rule for a region.';
        END IF;
        IF (p_rule.window_min, p_rule.min_load_percent, p_rule.rating_percent) IS DISTINCT FROM (p_base.window_min, p_base.min_load_percent, p_base.rating_percent) THEN
            RAISE EXCEPTION 'window_min, min_load_percent and rating_percent of a meter are those of its region'
                USING ERRCODE = 'SG113', HINT = 'Leave them out.';
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION alert_rule_check(alert_rules, alert_rules, timestamptz) IS 'Raises SG113 for a rule that nothing would be measured by, or that contradicts p_base, what holds where it does not';

CREATE OR REPLACE FUNCTION alerts_let_go(p_states bigint[], p_text text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_let_go integer;
BEGIN
    PERFORM FROM alert_states s WHERE s.alert_state_id = ANY (p_states) ORDER BY s.alert_state_id FOR UPDATE;
    WITH gone AS (
        DELETE FROM alert_states s WHERE s.alert_state_id = ANY (p_states) RETURNING s.alert_id
    ), resolved AS (
        UPDATE alerts a
           SET state = 'resolved', resolved_at = greatest(p_now, a.started_at), tell_at = CASE WHEN a.told_at IS NOT NULL THEN p_now END
          FROM gone AS g WHERE a.alert_id = g.alert_id AND a.state <> 'resolved'
        RETURNING a.alert_id, a.resolved_at
    ), told AS (
        INSERT INTO alert_events (alert_id, kind, event_at, text, created_at)
        SELECT r.alert_id, 'resolved', r.resolved_at, p_text, p_now FROM resolved AS r
    )
    SELECT count(*) INTO v_let_go FROM resolved;
    RETURN v_let_go;
END
$$;
COMMENT ON FUNCTION alerts_let_go(bigint[], text, timestamptz) IS 'Forgets states, and resolves their alerts for the reason p_text; how many';

CREATE OR REPLACE FUNCTION alerts_forsake(p_rule text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_forsaken CONSTANT integer := alerts_let_go(ARRAY(
        SELECT x.alert_state_id FROM alert_states x
         WHERE x.rule = p_rule
           AND (alert_rule_in_force(p_rule, coalesce(x.region, (SELECT g.region FROM gateways g WHERE g.gateway_id = x.gateway_id)), x.meter_id, p_now)).enabled
               IS NOT TRUE), 'the rule ended', p_now);
BEGIN
    PERFORM alerts_group(p_rule, p_now);
    RETURN v_forsaken;
END
$$;
COMMENT ON FUNCTION alerts_forsake(text, timestamptz) IS 'Resolves the alerts of a rule wherever it is not in force any more; how many';

CREATE OR REPLACE FUNCTION alert_rule_set(p_rule text, p_region text, p_meter_id integer, p_change jsonb, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_base alert_rules;
    v_here alert_rules;
    v_new alert_rules;
    v_missing text;
    v_meters text;
    v_now timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.alert_rule.' || p_rule, 0));
    IF p_rule !~ '^[a-z][a-z0-9_]{0,62}$' THEN
        RAISE EXCEPTION '% is no name of a rule', p_rule USING ERRCODE = 'SG113', HINT = 'Use lower-case letters, digits and _, at most 63, a letter first.';
    END IF;
    SELECT r.* INTO v_here FROM alert_rules r
     WHERE r.rule = p_rule AND r.valid @> p_now AND r.region IS NOT DISTINCT FROM p_region AND r.meter_id IS NOT DISTINCT FROM p_meter_id;
    v_base := alert_rule_in_force(p_rule, coalesce(p_region, (SELECT l.region FROM meter_locations l WHERE l.meter_id = p_meter_id AND l.valid @> p_now)), NULL, p_now);
    IF p_meter_id IS NOT NULL AND v_base.rule IS NULL THEN
        RAISE EXCEPTION 'there is no rule % where the meter is', p_rule USING ERRCODE = 'SG111', HINT = 'Set it for its region first, or for all.';
    END IF;
    v_new := CASE WHEN v_here.rule IS NOT NULL THEN v_here ELSE v_base END;
    IF v_new.rule IS NULL THEN
        SELECT string_agg(n, ', ') INTO v_missing FROM unnest(ARRAY['metric', 'above', 'raise_at', 'clear_at', 'severity', 'category', 'window_min']) AS n WHERE NOT p_change ? n;
        IF v_missing IS NOT NULL THEN
            RAISE EXCEPTION 'there is no rule % that would say %', p_rule, v_missing USING ERRCODE = 'SG113', HINT = 'Give them, or the name of a rule that there is.';
        END IF;
        v_new.for_s := 0;
        v_new.keep_s := 0;
        v_new.hold_s := 0;
        v_new.tells_owner := p_change ->> 'category' <> 'tamper';
        v_new.tells_operators := true;
        v_new.enabled := true;
    END IF;
    v_new := jsonb_populate_record(v_new, p_change - ARRAY['alert_rule_id', 'rule', 'region', 'meter_id', 'valid', 'created_at', 'updated_at']);
    v_new.rule := p_rule;
    v_new.region := p_region;
    v_new.meter_id := p_meter_id;
    PERFORM alert_rule_check(v_new, v_base, p_now);
    IF v_here.rule IS NOT NULL THEN
        IF to_jsonb(v_here) = to_jsonb(v_new) THEN
            RETURN v_here.alert_rule_id;
        END IF;
        v_now := greatest(p_now, lower(v_here.valid) + INTERVAL '1 microsecond');
        UPDATE alert_rules r SET valid = tstzrange(lower(r.valid), v_now) WHERE r.alert_rule_id = v_here.alert_rule_id;
    END IF;
    INSERT INTO alert_rules (rule, region, meter_id, valid, metric, above, raise_at, clear_at, worse_at, severity, worse_severity, worse_after_s, window_min, for_s, keep_s, hold_s,
                             min_load_percent, rating_percent, category, tells_owner, tells_operators, enabled, created_at, updated_at)
    VALUES (p_rule, p_region, p_meter_id, tstzrange(coalesce(v_now, p_now), 'infinity'), v_new.metric, v_new.above, v_new.raise_at, v_new.clear_at, v_new.worse_at, v_new.severity,
            v_new.worse_severity, v_new.worse_after_s, v_new.window_min, v_new.for_s, v_new.keep_s, v_new.hold_s, v_new.min_load_percent, v_new.rating_percent, v_new.category,
            v_new.tells_owner, v_new.tells_operators, v_new.enabled, p_now, p_now)
    RETURNING alert_rule_id INTO v_new.alert_rule_id;
    -- After the table's own checks: a value that no rule can have would else be told of as one that meters do not have.
    IF p_meter_id IS NULL THEN
        SELECT string_agg(m.meter_code, ', ' ORDER BY m.meter_code) INTO v_meters
          FROM (SELECT m.meter_code
                  FROM alert_rules r JOIN meters m USING (meter_id) JOIN meter_locations l ON l.meter_id = m.meter_id AND l.valid @> p_now
                 WHERE r.rule = p_rule AND r.valid @> p_now
                   AND (r.window_min, r.min_load_percent, r.rating_percent) IS DISTINCT FROM (v_new.window_min, v_new.min_load_percent, v_new.rating_percent)
                   AND CASE WHEN p_region IS NULL
                            THEN NOT EXISTS (SELECT FROM alert_rules x WHERE x.rule = p_rule AND x.valid @> p_now AND x.region = l.region)
                            ELSE l.region = p_region END
                 ORDER BY m.meter_code LIMIT 20) AS m;
        IF v_meters IS NOT NULL THEN
            RAISE EXCEPTION 'meters have this rule for themselves, with other window_min, min_load_percent or rating_percent: %', v_meters
                USING ERRCODE = 'SG118', HINT = 'End it there first.';
        END IF;
    END IF;
    IF NOT v_new.enabled THEN
        PERFORM alerts_forsake(p_rule, coalesce(v_now, p_now));
    END IF;
    RETURN v_new.alert_rule_id;
END
$$;
COMMENT ON FUNCTION alert_rule_set(text, text, integer, jsonb, timestamptz) IS 'A version of a rule that holds from now on: for a region, for a meter, or for all where both are NULL. p_change has columns of alert_rules; what it leaves out is as it was there, or as it is where nothing else is said. Its number; the same as before makes no version. Raises SG111 no rule where the meter is, SG113 as alert_rule_check(), and SG118 for one that contradicts what is said of meters';

CREATE OR REPLACE FUNCTION alert_rule_end(p_rule text, p_region text, p_meter_id integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_here alert_rules;
    v_now timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.alert_rule.' || p_rule, 0));
    SELECT r.* INTO v_here FROM alert_rules r
     WHERE r.rule = p_rule AND r.valid @> p_now AND r.region IS NOT DISTINCT FROM p_region AND r.meter_id IS NOT DISTINCT FROM p_meter_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no rule % %', p_rule,
            CASE WHEN p_region IS NOT NULL THEN 'of region ' || p_region
                 WHEN p_meter_id IS NOT NULL THEN 'of meter ' || (SELECT m.meter_code FROM meters m WHERE m.meter_id = p_meter_id) ELSE 'for all' END
            USING ERRCODE = 'SG111', HINT = 'What holds there may be said of its region, or of all.';
    END IF;
    v_now := greatest(p_now, lower(v_here.valid) + INTERVAL '1 microsecond');
    UPDATE alert_rules r SET valid = tstzrange(lower(r.valid), v_now) WHERE r.alert_rule_id = v_here.alert_rule_id;
    -- What is said of a meter goes with what it is said in place of.
    UPDATE alert_rules r SET valid = tstzrange(lower(r.valid), v_now)
     WHERE r.rule = p_rule AND r.valid @> v_now AND lower(r.valid) < v_now AND r.meter_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM meter_locations l JOIN alert_rules x ON x.rule = p_rule AND x.valid @> v_now AND x.meter_id IS NULL AND coalesce(x.region, l.region) = l.region
                        WHERE l.meter_id = r.meter_id AND l.valid @> v_now);
    RETURN alerts_forsake(p_rule, v_now);
END
$$;
COMMENT ON FUNCTION alert_rule_end(text, text, integer, timestamptz) IS 'Ends what is said of a region, of a meter, or of all: what holds besides it holds then, and what is open of a rule that nothing says any more is resolved; how many alerts. Raises SG111 no such rule';

CREATE OR REPLACE FUNCTION kept_rule(p_region text, p_meter_code text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF p_meter_code IS NOT NULL THEN
        RETURN kept_meter(p_meter_code);
    ELSIF p_region IS NOT NULL THEN
        PERFORM kept_region(p_region);
    ELSIF caller_role() IS DISTINCT FROM 'ADMIN' THEN
        RAISE EXCEPTION 'rules for all are set by admins' USING ERRCODE = 'SG080', HINT = 'Set it for a region, or for a meter.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION kept_rule(text, text) IS 'The meter that a rule is for, NULL for a region and for all, if the caller looks after it; raises SG022, SG024, SG070 or SG080';

CREATE OR REPLACE FUNCTION caller_sets_rule(p_rule text, p_region text, p_meter_code text, p_change jsonb, p_now timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT alert_rule_set(p_rule, p_region, kept_rule(p_region, p_meter_code), p_change, p_now)
$$;
COMMENT ON FUNCTION caller_sets_rule(text, text, text, jsonb, timestamptz) IS 'alert_rule_set() by who looks after the region or the meter, or by an admin; raises as that and kept_rule() do';

CREATE OR REPLACE FUNCTION caller_ends_rule(p_rule text, p_region text, p_meter_code text, p_now timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT alert_rule_end(p_rule, p_region, kept_rule(p_region, p_meter_code), p_now)
$$;
COMMENT ON FUNCTION caller_ends_rule(text, text, text, timestamptz) IS 'alert_rule_end() by who looks after the region or the meter, or by an admin; raises as that and kept_rule() do';
GRANT EXECUTE ON FUNCTION caller_sets_rule(text, text, text, jsonb, timestamptz), caller_ends_rule(text, text, text, timestamptz) TO segs_api;
