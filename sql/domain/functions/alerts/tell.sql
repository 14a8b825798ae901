-- Who is told of alerts, and when: messages go into the outbox in the transaction that notes that they were written. What people
-- want to hear of, by which way and at what hours, is looked at when they are delivered.

CREATE OR REPLACE FUNCTION alert_regions(p_alert alerts, p_now timestamptz) RETURNS text[]
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT ARRAY(
        SELECT p_alert.region WHERE p_alert.region IS NOT NULL
        UNION
        SELECT g.region FROM gateways g WHERE g.gateway_id = p_alert.gateway_id AND g.region IS NOT NULL
        UNION
        SELECT l.region FROM devices d JOIN meter_locations l ON l.meter_id = d.meter_id AND l.valid @> p_now
         WHERE d.gateway_id = p_alert.gateway_id AND d.valid @> p_now
        UNION
        SELECT l.region FROM meters m JOIN meter_locations l ON l.meter_id = m.meter_id AND l.valid @> p_now
         WHERE m.meter_id = p_alert.meter_id OR m.site = p_alert.site)
$$;
COMMENT ON FUNCTION alert_regions(alerts, timestamptz) IS 'The regions that an alert is about';

CREATE OR REPLACE FUNCTION alert_members_muted_until(p_alert_id bigint, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH open AS MATERIALIZED (
        SELECT w.* FROM maintenance_windows w WHERE w.valid @> p_now
    ), member AS (
        SELECT s.meter_id, m.site, l.region, d.gateway_id
          FROM alert_states s
          JOIN meters m USING (meter_id)
          LEFT JOIN meter_locations l ON l.meter_id = s.meter_id AND l.valid @> p_now
          LEFT JOIN devices d ON d.meter_id = s.meter_id AND d.valid @> p_now
         WHERE EXISTS (SELECT FROM open) AND s.alert_state_id IN (SELECT alert_states_of(ARRAY[p_alert_id], p_now))
    ), muted AS (
        SELECT (SELECT max(upper(w.valid)) FROM open AS w
                 WHERE w.meter_id = m.meter_id OR w.gateway_id = m.gateway_id OR w.site = m.site OR w.region = m.region) AS until
          FROM member AS m
    )
    SELECT min(m.until) FROM muted AS m HAVING count(*) = count(m.until)
$$;
COMMENT ON FUNCTION alert_members_muted_until(bigint, timestamptz) IS 'When the first of the maintenances ends that the meters are in for which an alert stands; NULL where no work is done at one of them';

CREATE OR REPLACE FUNCTION alert_muted_until(p_alert alerts, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(max(upper(w.valid)), CASE WHEN p_alert.alert_rule_id IS NULL THEN alert_members_muted_until(p_alert.alert_id, p_now) END)
      FROM maintenance_windows w
     WHERE w.valid @> p_now
       AND (w.meter_id = p_alert.meter_id OR w.gateway_id = p_alert.gateway_id OR w.site = p_alert.site OR w.region = ANY (alert_regions(p_alert, p_now))
            OR w.site = (SELECT m.site FROM meters m WHERE m.meter_id = p_alert.meter_id)
            OR w.gateway_id IN (SELECT d.gateway_id FROM devices d WHERE d.meter_id = p_alert.meter_id AND d.valid @> p_now))
$$;
COMMENT ON FUNCTION alert_muted_until(alerts, timestamptz) IS 'When the maintenance ends that an alert falls into, or all for which it stands; NULL where there is none';

CREATE OR REPLACE FUNCTION alert_recipients(p_alert alerts, p_admins boolean, p_now timestamptz) RETURNS SETOF integer
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH says AS (
        SELECT coalesce(r.tells_owner, p_alert.site IS NOT NULL OR p_alert.gateway_id IS NOT NULL) AS owner, coalesce(r.tells_operators, true) AS operators
          FROM (SELECT) AS one LEFT JOIN alert_rules r ON r.alert_rule_id = p_alert.alert_rule_id
    ), operator AS (
        SELECT o.user_id FROM operator_regions o JOIN users u USING (user_id), says AS s
         WHERE s.operators AND u.role = 'OPERATOR' AND u.suspended_at IS NULL AND u.deleted_at IS NULL AND o.region = ANY (alert_regions(p_alert, p_now))
    )
    SELECT o.user_id FROM operator AS o
    UNION
    -- Where nobody looks after a region, admins do.
    SELECT u.user_id FROM users u, says AS s
     WHERE u.role = 'ADMIN' AND u.suspended_at IS NULL AND u.deleted_at IS NULL AND s.operators AND (p_admins OR NOT EXISTS (SELECT FROM operator))
    UNION
    SELECT o.user_id FROM meter_owners o JOIN users u USING (user_id), says AS s
     WHERE s.owner AND u.suspended_at IS NULL AND u.deleted_at IS NULL AND o.valid @> p_now
       -- What began before says what somebody else used.
       AND (p_alert.meter_id IS NULL OR o.valid @> p_alert.started_at)
       AND o.meter_id IN (SELECT p_alert.meter_id
                          UNION ALL SELECT m.meter_id FROM meters m WHERE m.site = p_alert.site
                          UNION ALL SELECT d.meter_id FROM devices d WHERE d.gateway_id = p_alert.gateway_id AND d.valid @> p_now)
$$;
COMMENT ON FUNCTION alert_recipients(alerts, boolean, timestamptz) IS 'Who is told of an alert: whose meter it is and was when it began, and operators of its region, as its rule says; admins too with p_admins, and where there is no operator';

CREATE OR REPLACE FUNCTION alert_post(p_alert alerts, p_template text, p_admins boolean, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_written integer;
    -- By whom it was closed, or what stands for it, also by way of something between.
    v_closed_by CONSTANT integer := (
        WITH RECURSIVE whole AS (
            SELECT p_alert.resolved_by, p_alert.part_of
            UNION ALL
            SELECT a.resolved_by, a.part_of FROM whole AS w JOIN alerts a ON a.alert_id = w.part_of WHERE w.resolved_by IS NULL
        )
        SELECT w.resolved_by FROM whole AS w WHERE w.resolved_by IS NOT NULL LIMIT 1);
BEGIN
    INSERT INTO outbox (user_id, channel, template, payload, created_at, expires_at)
    SELECT r.user_id, w.channel, p_template,
           jsonb_strip_nulls(jsonb_build_object('alert_id', p_alert.alert_id, 'rule', p_alert.rule, 'severity', p_alert.severity, 'message', p_alert.message,
               'measured', (SELECT jsonb_build_object('metric', r.metric, 'above', r.above, 'phase', p_alert.phase, 'value', p_alert.value,
                                                      'threshold', p_alert.threshold, 'unit', p_alert.unit, 'detail', p_alert.detail)
                              FROM (VALUES (p_alert.alert_rule_id)) AS v (id) LEFT JOIN alert_rules r ON r.alert_rule_id = v.id),
               'subject', coalesce((SELECT m.meter_code FROM meters m WHERE m.meter_id = p_alert.meter_id), (SELECT g.name FROM gateways g WHERE g.gateway_id = p_alert.gateway_id),
                                   p_alert.site, (SELECT g.name FROM regions g WHERE g.region = p_alert.region)),
               'started_at', p_alert.started_at, 'resolved_at', p_alert.resolved_at)),
           p_now, p_now + INTERVAL '1 day'
      FROM alert_recipients(p_alert, p_admins, p_now) AS r (user_id)
      JOIN users u USING (user_id)
      JOIN user_preferences n USING (user_id)
     CROSS JOIN LATERAL (VALUES ('email', n.notify_email AND u.email IS NOT NULL), ('sms', n.notify_sms AND u.phone IS NOT NULL), ('push', n.notify_push), ('webhook', n.notify_webhook AND u.role <> 'USER')) AS w (channel, wanted)
       -- Who closed one knows; the others hear that it is over, and so does a system, which has it open.
     WHERE w.wanted AND (p_template <> 'alert_resolved' OR w.channel = 'webhook'
                         OR r.user_id IS DISTINCT FROM v_closed_by)
       -- Nobody is called upon to take on what they would be refused.
       AND (p_template <> 'alert_escalated' OR u.role = 'ADMIN'
            OR u.role = 'OPERATOR' AND EXISTS (SELECT FROM operator_regions o WHERE o.user_id = u.user_id AND o.region = ANY (alert_regions(p_alert, p_now))));
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION alert_post(alerts, text, boolean, timestamptz) IS 'Writes the messages of an alert to those who are told of it, by each way that they want; that nobody took it on only to those who can. How many';

CREATE OR REPLACE FUNCTION alerts_tell(p_limit integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_alert alerts;
    v_muted timestamptz;
    v_told integer := 0;
BEGIN
    FOR v_alert IN
        SELECT a.* FROM alerts a WHERE a.tell_at <= p_now ORDER BY a.tell_at, a.alert_id LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        v_told := v_told + 1;
        v_muted := alert_muted_until(v_alert, p_now);
        IF v_muted IS NOT NULL THEN
            UPDATE alerts SET tell_at = v_muted WHERE alert_id = v_alert.alert_id;
            INSERT INTO alert_events (alert_id, kind, event_at, created_at) VALUES (v_alert.alert_id, 'muted', p_now, p_now);
            CONTINUE;
        END IF;
        UPDATE alerts
           SET tell_at = NULL, told_at = greatest(p_now, fired_at), told_severity = severity
         WHERE alert_id = v_alert.alert_id;
        -- Admins who were called for want of anybody hear that it is over.
        PERFORM alert_post(v_alert, CASE WHEN v_alert.state = 'resolved' THEN 'alert_resolved' ELSE 'alert' END, v_alert.state = 'resolved' AND v_alert.escalations = 2, p_now);
        INSERT INTO alert_events (alert_id, kind, event_at, created_at) VALUES (v_alert.alert_id, 'told', p_now, p_now);
    END LOOP;
    RETURN v_told;
END
$$;
COMMENT ON FUNCTION alerts_tell(integer, timestamptz) IS 'Tells people of at most p_limit alerts that are due: that they began, got worse, or are over. In a maintenance window nobody is told before its end; of what began in it and is over by then not at all. How many were looked at';
GRANT EXECUTE ON FUNCTION alerts_tell(integer, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION alerts_escalate(p_limit integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_alert alerts;
    v_escalated integer := 0;
BEGIN
    FOR v_alert IN
        SELECT a.* FROM alerts a
         WHERE a.state <> 'resolved' AND a.severity = 'critical' AND a.acknowledged_at IS NULL AND a.escalations < 2
           AND a.told_at <= p_now - make_interval(mins => 15 * (a.escalations + 1)) AND a.tell_at IS NULL AND alert_muted_until(a, p_now) IS NULL
           -- After a pause there is time to take it on, too.
           AND NOT EXISTS (SELECT FROM alert_events e WHERE e.alert_id = a.alert_id AND e.kind = 'escalated' AND e.event_at > p_now - INTERVAL '15 minutes')
         ORDER BY a.told_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        UPDATE alerts SET escalations = escalations + 1 WHERE alert_id = v_alert.alert_id;
        PERFORM alert_post(v_alert, 'alert_escalated', v_alert.escalations = 1, p_now);
        INSERT INTO alert_events (alert_id, kind, event_at, created_at) VALUES (v_alert.alert_id, 'escalated', p_now, p_now);
        v_escalated := v_escalated + 1;
    END LOOP;
    RETURN v_escalated;
END
$$;
COMMENT ON FUNCTION alerts_escalate(integer, timestamptz) IS 'Tells who can take them on again of critical alerts that nobody took on within 15 minutes, and after 30 admins as well; how many';
GRANT EXECUTE ON FUNCTION alerts_escalate(integer, timestamptz) TO segs_worker;
