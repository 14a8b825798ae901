-- What becomes of alerts, as it does, for who looks on. As with readings that arrive, a snapshot says what was seen: what had not
-- ended by the one and has by the next has come between them. No event is written in a subtransaction, which snapshots do not name.

CREATE OR REPLACE FUNCTION alert_events_floor() RETURNS bigint
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT greatest(0, coalesce(max(e.alert_event_id), 0) - 1000) FROM alert_events e
$$;
COMMENT ON FUNCTION alert_events_floor() IS 'A number of events before which no new one comes, once nothing is under way';

CREATE OR REPLACE FUNCTION caller_alert_events(p_cursor text, p_limit integer, p_now timestamptz, OUT cursor text, OUT events jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- Before the snapshot: numbers up to here are not drawn after it.
    v_drawn CONSTANT bigint := alert_events_floor();
    v_now CONSTANT pg_snapshot := pg_current_snapshot();
    v_xmax CONSTANT bigint := pg_snapshot_xmax(v_now)::text::bigint;
    v_server CONSTANT text := (SELECT c.system_identifier::text || '@' FROM pg_control_system() AS c);
    v_parts CONSTANT text[] := string_to_array(substr(p_cursor, length(v_server) + 1), '/');
    v_seen pg_snapshot;
    v_until pg_snapshot;
    v_floor bigint;
    v_after bigint;
    v_last bigint;
    v_meters integer[];
BEGIN
    events := '[]';
    IF p_cursor IS NULL THEN
        cursor := v_server || concat_ws('/', v_now, v_drawn);
        RETURN;
    END IF;
    IF NOT starts_with(p_cursor, v_server) OR cardinality(v_parts) NOT IN (2, 4) THEN
        RAISE EXCEPTION 'what was seen last is not of this server' USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin without it.';
    END IF;
    v_seen := v_parts[1]::pg_snapshot;
    v_floor := v_parts[2]::bigint;
    v_until := coalesce(v_parts[3]::pg_snapshot, v_now);
    v_after := coalesce(v_parts[4]::bigint, 0);
    IF greatest(pg_snapshot_xmax(v_seen), pg_snapshot_xmax(v_until)) > pg_snapshot_xmax(v_now) THEN
        RAISE EXCEPTION 'what was seen last is yet to come' USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin without it.';
    END IF;
    WITH latest AS (
        SELECT e.*, n.xid
          FROM alert_events e
         -- A row has the lower half of its transaction's number.
         CROSS JOIN LATERAL (SELECT (v_xmax >> 32 << 32) + e.xmin::text::bigint AS number) AS x
         CROSS JOIN LATERAL (SELECT (CASE WHEN x.number >= v_xmax THEN x.number - (1::bigint << 32) ELSE x.number END)::text::xid8 AS xid WHERE x.number >= 0) AS n
         WHERE e.alert_event_id > greatest(v_floor, v_after)
    ), came AS (
        SELECT l.* FROM latest AS l WHERE NOT pg_visible_in_snapshot(l.xid, v_seen) AND pg_visible_in_snapshot(l.xid, v_until)
         ORDER BY l.alert_event_id LIMIT p_limit
    ), told AS (
        SELECT c.*, a.meter_id, a.rule, a.severity, a.state, a.message, alert_subject(a) AS subject
          FROM came AS c
          JOIN alerts a USING (alert_id)
          JOIN user_preferences p ON p.user_id = caller_id() AND p.notify_web
         -- Neither the post nor what nobody is told of; but what waited for the end of maintenance comes with the post.
         WHERE (c.kind NOT IN ('told', 'muted')
                OR c.kind = 'told' AND (SELECT m.kind FROM alert_events m
                                         WHERE m.alert_id = c.alert_id AND m.kind IN ('told', 'muted') AND m.alert_event_id < c.alert_event_id
                                         ORDER BY m.alert_event_id DESC LIMIT 1) = 'muted')
           AND NOT a.late AND a.rule <> ALL (p.alert_rules_off)
           AND severity_rank(a.severity) >= severity_rank(p.alert_severity_min)
           AND caller_sees_alert_at(a, c.event_at) AND alert_muted_until(a, p_now) IS NULL
    )
    SELECT CASE WHEN (SELECT count(*) FROM came) = p_limit THEN (SELECT max(c.alert_event_id) FROM came AS c) END,
           array_agg(DISTINCT t.meter_id) FILTER (WHERE t.meter_id IS NOT NULL),
           coalesce(jsonb_agg(jsonb_build_object('event_id', t.alert_event_id, 'alert_id', t.alert_id, 'kind', t.kind, 'at', t.event_at, 'text', t.text, 'rule', t.rule,
                                                 'severity', t.severity, 'state', t.state, 'subject', t.subject, 'message', t.message) ORDER BY t.alert_event_id), '[]')
      INTO v_last, v_meters, events
      FROM told AS t;
    cursor := v_server || CASE WHEN v_last IS NOT NULL THEN concat_ws('/', v_seen, v_floor, v_until, v_last)
                               -- Numbers are drawn before their rows are seen: while anything is under way, none of them is left behind.
                               ELSE concat_ws('/', v_until, CASE WHEN pg_snapshot_xmin(v_now) = pg_snapshot_xmax(v_now) AND v_parts[3] IS NULL THEN v_drawn ELSE v_floor END)
                          END;
    IF v_meters IS NOT NULL THEN
        PERFORM audit_access('alerts/live', v_meters, NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION caller_alert_events(text, integer, timestamptz) IS 'What became since p_cursor of alerts that the caller sees and wants to hear of in the web: objects in the order of their numbers, of p_limit events that there were at most; and the next p_cursor, which has the rest where there is one. NULL begins now. That an operator or admin hears of meters is written down. Raises 22023 or 22P02 for a p_cursor that is none, or of another server';
GRANT EXECUTE ON FUNCTION caller_alert_events(text, integer, timestamptz) TO segs_api;
