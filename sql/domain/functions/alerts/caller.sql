-- What people do about alerts: operators and admins take them on and close them, and whoever sees one may say something to it.

CREATE OR REPLACE FUNCTION caller_keeps_alert(p_alert alerts) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(caller_role() = 'ADMIN' OR p_alert.region = ANY (caller_regions()) OR p_alert.site = ANY (caller_sites())
                    OR p_alert.gateway_id IS NOT NULL AND caller_sees_gateway(p_alert.gateway_id)
                    OR EXISTS (SELECT FROM meter_locations l
                                WHERE l.meter_id = p_alert.meter_id AND l.region = ANY (caller_regions()) AND l.valid @> statement_timestamp()), false)
$$;
COMMENT ON FUNCTION caller_keeps_alert(alerts) IS 'Whether the caller looks after what the alert is about: an operator of its region, or an admin';

CREATE OR REPLACE FUNCTION caller_hears_of_alert(p_alert alerts) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(p_alert.category <> 'tamper' AND EXISTS (
        SELECT FROM unnest(CASE WHEN p_alert.meter_id IS NOT NULL THEN ARRAY[p_alert.meter_id] WHEN EXISTS (SELECT FROM alert_groups g WHERE g.group_rule = p_alert.rule) THEN caller_meters() END) AS u (meter_id)
         WHERE (p_alert.meter_id IS NOT NULL
                OR EXISTS (SELECT FROM meters m WHERE m.meter_id = u.meter_id AND m.site = p_alert.site)
                OR EXISTS (SELECT FROM devices d WHERE d.meter_id = u.meter_id AND d.gateway_id = p_alert.gateway_id AND d.valid @> p_alert.started_at))
               -- What it was worst by, and when it was over, says what whoever has the meter by then used.
           AND (SELECT range_agg(o.valid) FROM meter_owners o WHERE o.meter_id = u.meter_id AND o.user_id = caller_id() AND caller_role() IS NOT NULL)
               @> tstzrange(p_alert.started_at, greatest(coalesce(p_alert.resolved_at, statement_timestamp()), p_alert.started_at), '[]')), false)
$$;
COMMENT ON FUNCTION caller_hears_of_alert(alerts) IS 'Whether the alert is of the caller''s own meter, or of a site or gateway with one, and the meter was theirs as long as it lasted; but for what may be their own doing';
GRANT EXECUTE ON FUNCTION caller_hears_of_alert(alerts) TO segs_api;

DROP FUNCTION IF EXISTS caller_sees_alert(alerts);
CREATE OR REPLACE FUNCTION caller_sees_alert_at(p_alert alerts, p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT caller_keeps_alert(p_alert)
           OR caller_hears_of_alert(p_alert) AND (p_alert.meter_id IS NULL OR caller_owned(p_alert.meter_id, tstzrange(p_at, p_at, '[]')))
$$;
COMMENT ON FUNCTION caller_sees_alert_at(alerts, timestamptz) IS 'Whether the caller sees what became of the alert at a time: who looks after it, and who sees it and had the meter then';
GRANT EXECUTE ON FUNCTION caller_sees_alert_at(alerts, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION alert_subject(p_alert alerts) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce((SELECT m.meter_code FROM meters m WHERE m.meter_id = p_alert.meter_id), (SELECT g.name FROM gateways g WHERE g.gateway_id = p_alert.gateway_id),
                    p_alert.site, p_alert.region)
$$;
COMMENT ON FUNCTION alert_subject(alerts) IS 'What an alert is about, by the name that people use: a meter''s code, a gateway''s name, a site or a region';

CREATE OR REPLACE FUNCTION alert_look(p_what text, p_alerts bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_meters integer[];
    v_span tstzrange;
BEGIN
    SELECT coalesce(array_agg(DISTINCT a.meter_id) FILTER (WHERE a.meter_id IS NOT NULL), '{}'),
           tstzrange(min(a.started_at), max(greatest(coalesce(a.resolved_at, statement_timestamp()), a.started_at)), '[]')
      INTO v_meters, v_span
      FROM alerts a WHERE a.alert_id = ANY (p_alerts);
    PERFORM audit_access(p_what, v_meters, NULL, jsonb_build_object('alerts', p_alerts), CASE WHEN lower(v_span) IS NOT NULL THEN v_span END);
END
$$;
COMMENT ON FUNCTION alert_look(text, bigint[]) IS 'audit_access() of alerts: of their meters, while they lasted. Raises SG054 for nobody';
GRANT EXECUTE ON FUNCTION alert_look(text, bigint[]) TO segs_api;

CREATE OR REPLACE FUNCTION alerts_acknowledge(p_alerts bigint[], p_user_id integer, p_text text, p_now timestamptz)
RETURNS TABLE (alert_id bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM alerts a WHERE a.alert_id = ANY (p_alerts) ORDER BY a.alert_id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH taken AS (
        UPDATE alerts a SET acknowledged_at = greatest(p_now, a.started_at), acknowledged_by = p_user_id
         WHERE a.alert_id = ANY (p_alerts) AND a.state <> 'resolved' AND a.acknowledged_at IS NULL
        RETURNING a.alert_id
    ), told AS (
        INSERT INTO alert_events (alert_id, kind, event_at, user_id, text, created_at)
        SELECT t.alert_id, 'acknowledged', p_now, p_user_id, p_text, p_now FROM taken AS t
    ), said AS (
        -- Who comes second has something to say all the same.
        INSERT INTO alert_events (alert_id, kind, event_at, user_id, text, created_at)
        SELECT a.alert_id, 'commented', p_now, p_user_id, p_text, p_now FROM alerts a
         WHERE a.alert_id = ANY (p_alerts) AND p_text IS NOT NULL AND NOT EXISTS (SELECT FROM taken AS t WHERE t.alert_id = a.alert_id)
    )
    SELECT n.number, CASE WHEN t.alert_id IS NOT NULL THEN 'done' WHEN a.alert_id IS NOT NULL THEN 'already' ELSE 'absent' END
      FROM (SELECT DISTINCT unnest(p_alerts)) AS n (number) LEFT JOIN alerts a ON a.alert_id = n.number LEFT JOIN taken AS t ON t.alert_id = n.number
     ORDER BY n.number;
END
$$;
COMMENT ON FUNCTION alerts_acknowledge(bigint[], integer, text, timestamptz) IS 'A user takes on open alerts, so that they are not told again for want of somebody: of each what became of it, done, already (somebody has, or it is over; p_text is a comment then), absent';

CREATE OR REPLACE FUNCTION alerts_close(p_alerts bigint[], p_user_id integer, p_text text, p_now timestamptz)
RETURNS TABLE (alert_id bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_rule text;
    v_states bigint[];
BEGIN
    -- In the worker's order: states, groups, alerts.
    PERFORM FROM alert_states s WHERE s.alert_state_id IN (SELECT alert_states_of(p_alerts, p_now)) ORDER BY s.alert_state_id FOR UPDATE;
    FOR v_rule IN SELECT DISTINCT g.rule FROM alerts a JOIN alert_groups g ON a.rule IN (g.group_rule, g.rule) WHERE a.alert_id = ANY (p_alerts) ORDER BY g.rule LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('segs.alerts_group.' || v_rule, 0));
    END LOOP;
    PERFORM FROM alerts a WHERE a.alert_id = ANY (p_alerts) ORDER BY a.alert_id FOR UPDATE;
    v_states := ARRAY(SELECT alert_states_of(p_alerts, p_now));
    RETURN QUERY
    WITH closed AS (
        UPDATE alerts a
           SET state = 'resolved', resolved_at = greatest(p_now, a.started_at), resolved_by = p_user_id, tell_at = CASE WHEN a.told_at IS NOT NULL THEN p_now END
         WHERE a.alert_id = ANY (p_alerts) AND a.state <> 'resolved'
        RETURNING a.alert_id
    ), part AS (
        -- Who was told of a meter before this stood for it hears that it was closed.
        UPDATE alerts a SET tell_at = p_now, resolved_at = greatest(p_now, a.started_at)
         WHERE a.alert_id IN (SELECT p.alert_id FROM alert_parts(ARRAY(SELECT c.alert_id FROM closed AS c)) AS p) AND a.told_at IS NOT NULL
    ), dismissed AS (
        -- What is not over does not open anew until it was, or is worse.
        UPDATE alert_states s SET state = 'dismissed', cleared_since = NULL, alert_id = NULL WHERE s.alert_state_id = ANY (v_states)
    ), told AS (
        INSERT INTO alert_events (alert_id, kind, event_at, user_id, text, created_at)
        SELECT c.alert_id, 'closed', p_now, p_user_id, p_text, p_now FROM closed AS c
    ), said AS (
        INSERT INTO alert_events (alert_id, kind, event_at, user_id, text, created_at)
        SELECT a.alert_id, 'commented', p_now, p_user_id, p_text, p_now FROM alerts a
         WHERE a.alert_id = ANY (p_alerts) AND p_text IS NOT NULL AND NOT EXISTS (SELECT FROM closed AS c WHERE c.alert_id = a.alert_id)
    )
    SELECT n.number, CASE WHEN c.alert_id IS NOT NULL THEN 'done' WHEN a.alert_id IS NOT NULL THEN 'already' ELSE 'absent' END
      FROM (SELECT DISTINCT unnest(p_alerts)) AS n (number) LEFT JOIN alerts a ON a.alert_id = n.number LEFT JOIN closed AS c ON c.alert_id = n.number
     ORDER BY n.number;
END
$$;
COMMENT ON FUNCTION alerts_close(bigint[], integer, text, timestamptz) IS 'A user resolves open alerts by hand, and what they stand for; it does not open anew until it was over once or is worse. Of each what became of it: done, already (it is over; p_text is a comment then), absent';

CREATE OR REPLACE FUNCTION caller_acts_on_alerts(p_action text, p_alerts bigint[], p_text text, p_now timestamptz)
RETURNS TABLE (alert_id bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_kept bigint[];
BEGIN
    IF caller_role() IS DISTINCT FROM 'ADMIN' AND caller_role() IS DISTINCT FROM 'OPERATOR' THEN
        RAISE EXCEPTION 'alerts are taken on and closed by operators' USING ERRCODE = 'SG080', HINT = 'Say what is to be said in a comment.';
    END IF;
    IF cardinality(p_alerts) > 500 THEN
        RAISE EXCEPTION '% alerts are more than 500', cardinality(p_alerts) USING ERRCODE = 'SG112', HINT = 'Name some of them, and then the others.';
    END IF;
    v_kept := ARRAY(SELECT a.alert_id FROM alerts a WHERE a.alert_id = ANY (p_alerts) AND caller_keeps_alert(a));
    IF p_action = 'close' THEN
        RETURN QUERY SELECT k.* FROM alerts_close(v_kept, caller_id(), p_text, p_now) AS k;
    ELSE
        RETURN QUERY SELECT k.* FROM alerts_acknowledge(v_kept, caller_id(), p_text, p_now) AS k;
    END IF;
    RETURN QUERY SELECT DISTINCT u, 'absent' FROM unnest(p_alerts) AS u WHERE u <> ALL (v_kept);
END
$$;
COMMENT ON FUNCTION caller_acts_on_alerts(text, bigint[], text, timestamptz) IS 'alerts_close() for close, alerts_acknowledge() else, of those of at most 500 alerts that the caller looks after; the others are absent. Raises SG080 for a customer, SG112 for more';
GRANT EXECUTE ON FUNCTION caller_acts_on_alerts(text, bigint[], text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION caller_comments_on_alert(p_alert_id bigint, p_text text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM alerts a WHERE a.alert_id = p_alert_id AND caller_sees_alert_at(a, p_now)) THEN
        RAISE EXCEPTION 'there is no alert %', p_alert_id USING ERRCODE = 'SG110';
    END IF;
    INSERT INTO alert_events (alert_id, kind, event_at, user_id, text, created_at) VALUES (p_alert_id, 'commented', p_now, caller_id(), p_text, p_now);
END
$$;
COMMENT ON FUNCTION caller_comments_on_alert(bigint, text, timestamptz) IS 'What is said to an alert by who looks after it, or whose meter it is of and is now; raises SG110 for anybody else';
GRANT EXECUTE ON FUNCTION caller_comments_on_alert(bigint, text, timestamptz) TO segs_api;
