-- From states to alerts: what fires, gets worse, clears and is resolved. Meters of one group are looked at by one transaction at a time.

CREATE OR REPLACE FUNCTION alert_covered(p_rules text[], p_now timestamptz) RETURNS TABLE (rule text, meter_id integer)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT g.rule, n.meter_id
      FROM alert_groups g
      JOIN alerts a ON a.rule = g.group_rule AND a.state = 'firing'
     CROSS JOIN LATERAL (
           SELECT l.meter_id FROM meter_locations l WHERE g.scope = 'region' AND l.region = a.region AND l.valid @> p_now
           UNION ALL
           SELECT m.meter_id FROM meters m WHERE g.scope = 'site' AND m.site = a.site
           UNION ALL
           SELECT d.meter_id FROM devices d WHERE g.scope = 'gateway' AND d.gateway_id = a.gateway_id AND d.valid @> p_now) AS n
     WHERE g.rule = ANY (p_rules)
$$;
COMMENT ON FUNCTION alert_covered(text[], timestamptz) IS 'Meters at which an open alert of something larger stands for alerts of these rules';

CREATE OR REPLACE FUNCTION alerts_fire(p_states bigint[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_state record;
    v_alert_id bigint;
    v_before integer;
    v_part alerts;
    v_severity text;
    v_fired integer := 0;
    v_rules CONSTANT text[] := ARRAY(SELECT DISTINCT s.rule FROM alert_states s WHERE s.alert_state_id = ANY (p_states));
BEGIN
    FOR v_state IN
        SELECT s.*, c.metric, c.unit, r.above, r.category, r.hold_s, CASE WHEN s.level = 3 THEN r.worse_severity ELSE r.severity END AS severity
          FROM alert_states s JOIN alert_rules r USING (alert_rule_id) JOIN alert_metrics c USING (metric)
         WHERE s.alert_state_id = ANY (p_states) AND s.state = 'firing' AND s.alert_id IS NULL
           AND (s.meter_id IS NULL OR (s.rule, s.meter_id) NOT IN (SELECT v.rule, v.meter_id FROM alert_covered(v_rules, p_now) AS v))
         ORDER BY s.alert_state_id
    LOOP
        -- Coming and going four times within an hour is one alert, that stays.
        SELECT count(*) FILTER (WHERE a.fired_at > v_state.seen_until - INTERVAL '1 hour') + count(*) FILTER (WHERE a.resolved_at > v_state.seen_until - INTERVAL '1 hour')
          INTO v_before
          FROM alerts a
         WHERE a.subject = v_state.subject AND a.rule = v_state.rule
           AND a.phase = v_state.phase AND a.part_of IS NULL AND NOT a.late AND a.started_at > v_state.seen_until - INTERVAL '1 day';
        -- Of what goes on when something larger is over that stood for it meanwhile, nobody who was told is told anew.
        SELECT a.* INTO v_part
          FROM alerts a
         WHERE a.subject = v_state.subject AND a.rule = v_state.rule AND a.phase = v_state.phase AND a.part_of IS NOT NULL AND a.started_at >= v_state.since
           AND a.told_at < a.resolved_at AND a.tell_at IS NULL
         ORDER BY a.alert_id DESC LIMIT 1;
        v_severity := CASE WHEN severity_rank(v_part.severity) > severity_rank(v_state.severity) THEN v_part.severity ELSE v_state.severity END;
        INSERT INTO alerts (rule, alert_rule_id, meter_id, gateway_id, region, phase, category, severity, state, value, threshold, unit, message, detail, started_at, fired_at,
                            flapping, tell_at, told_at, told_severity, acknowledged_at, acknowledged_by, escalations, created_at, updated_at)
        VALUES (v_state.rule, v_state.alert_rule_id, v_state.meter_id, v_state.gateway_id, v_state.region, v_state.phase, v_state.category, v_severity, 'firing',
                v_state.value, v_state.threshold, v_state.unit, alert_message(v_state.metric, v_state.phase, v_state.value, v_state.threshold, v_state.above, v_state.detail), v_state.detail,
                v_state.since, coalesce(v_part.fired_at, v_state.seen_until), v_before >= 3,
                CASE WHEN v_part.alert_id IS NULL THEN p_now + make_interval(secs => v_state.hold_s) WHEN v_part.told_severity <> v_severity THEN p_now END, v_part.told_at, v_part.told_severity,
                v_part.acknowledged_at, v_part.acknowledged_by, coalesce(v_part.escalations, 0), p_now, p_now)
        ON CONFLICT DO NOTHING
        RETURNING alert_id INTO v_alert_id;
        CONTINUE WHEN v_alert_id IS NULL;
        UPDATE alert_states s SET alert_id = v_alert_id WHERE s.alert_state_id = v_state.alert_state_id;
        INSERT INTO alert_events (alert_id, kind, event_at, created_at)
        SELECT v_alert_id, k.kind, v_state.seen_until, p_now FROM unnest(CASE WHEN v_part.alert_id IS NOT NULL THEN ARRAY['again'] WHEN v_before >= 3 THEN ARRAY['fired', 'flapping']
                                                                                     ELSE ARRAY['fired'] END) AS k (kind);
        v_fired := v_fired + 1;
    END LOOP;
    RETURN v_fired;
END
$$;
COMMENT ON FUNCTION alerts_fire(bigint[], timestamptz) IS 'Opens alerts for states that fire and have none, but where another alert stands for them, or goes on with what people were told before one did; how many';

CREATE OR REPLACE FUNCTION alerts_follow(p_states bigint[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_followed integer;
BEGIN
    WITH changed AS (
        SELECT a.alert_id, a.state AS was, s.state, s.seen_until, s.value, s.threshold, s.detail, a.severity AS was_severity,
               -- It was as bad as it was: what gets better does not count as less.
               CASE WHEN s.level = 3 OR r.worse_after_s <= EXTRACT(epoch FROM s.seen_until - s.since) THEN
                        CASE WHEN severity_rank(r.worse_severity) > severity_rank(a.severity) THEN r.worse_severity ELSE a.severity END
                    ELSE a.severity END AS severity,
               alert_message(r.metric, s.phase, s.value, s.threshold, r.above, s.detail) AS message
          FROM alert_states s JOIN alerts a USING (alert_id) JOIN alert_rules r ON r.alert_rule_id = s.alert_rule_id
         WHERE s.alert_state_id = ANY (p_states) AND a.state <> 'resolved'
    ), followed AS (
        UPDATE alerts a
           SET state = c.state, severity = c.severity, value = c.value, threshold = c.threshold, message = c.message, detail = c.detail,
               tell_at = CASE WHEN c.severity <> c.was_severity THEN coalesce(a.tell_at, p_now) ELSE a.tell_at END,
               -- Who took on a warning has not taken on what became of it.
               acknowledged_at = CASE WHEN c.severity = c.was_severity THEN a.acknowledged_at END,
               acknowledged_by = CASE WHEN c.severity = c.was_severity THEN a.acknowledged_by END
          FROM changed AS c
         WHERE a.alert_id = c.alert_id AND (c.state <> c.was OR c.severity <> c.was_severity)
        RETURNING a.alert_id, c.was, c.state, c.was_severity, c.severity, c.seen_until, c.message
    ), told AS (
        INSERT INTO alert_events (alert_id, kind, event_at, text, created_at)
        SELECT f.alert_id, k.kind, f.seen_until, f.message, p_now
          FROM followed AS f
         CROSS JOIN LATERAL (SELECT CASE WHEN f.state = 'clearing' THEN 'clearing' ELSE 'again' END WHERE f.state <> f.was
                             UNION ALL SELECT 'worse' WHERE f.severity <> f.was_severity) AS k (kind)
    )
    SELECT count(*) INTO v_followed FROM followed;
    RETURN v_followed;
END
$$;
COMMENT ON FUNCTION alerts_follow(bigint[], timestamptz) IS 'Alerts become what their states are: clearing, firing again, worse; how many';

CREATE OR REPLACE FUNCTION alerts_resolve(p_alerts bigint[], p_ends timestamptz[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_resolved integer;
BEGIN
    WITH resolved AS (
        UPDATE alerts a
           SET state = 'resolved', resolved_at = greatest(e.at, a.started_at),
               -- Who was told that it began is told that it is over; what nobody heard of goes without a word.
               tell_at = CASE WHEN a.told_at IS NOT NULL THEN p_now END,
               -- It was over before anybody could know of it.
               late = a.told_at IS NULL AND a.created_at >= p_now AND e.at < p_now - INTERVAL '15 minutes'
          FROM unnest(p_alerts, p_ends) AS e (alert_id, at)
         WHERE a.alert_id = e.alert_id AND a.state <> 'resolved'
        RETURNING a.alert_id, a.resolved_at
    ), told AS (
        INSERT INTO alert_events (alert_id, kind, event_at, created_at) SELECT r.alert_id, 'resolved', r.resolved_at, p_now FROM resolved AS r
    )
    SELECT count(*) INTO v_resolved FROM resolved;
    IF EXISTS (SELECT FROM alerts a JOIN alert_groups g ON g.group_rule = a.rule WHERE a.alert_id = ANY (p_alerts)) THEN
        -- Who was told of a meter before something larger stood for it is told that this is over, too.
        UPDATE alerts a SET tell_at = p_now, resolved_at = greatest(w.resolved_at, a.started_at)
          FROM alert_parts(p_alerts) AS p JOIN alerts w ON w.alert_id = p.whole
         WHERE a.alert_id = p.alert_id AND a.told_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM alert_states s WHERE (s.subject, s.rule, s.phase) = (a.subject, a.rule, a.phase));
    END IF;
    RETURN v_resolved;
END
$$;
COMMENT ON FUNCTION alerts_resolve(bigint[], timestamptz[], timestamptz) IS 'Resolves open alerts at these times, and what people were told of what they stand for; how many of the first';
