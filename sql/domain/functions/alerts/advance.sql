-- What was measured moves the states of rules, and their alerts, window by window in order of time.

CREATE OR REPLACE FUNCTION alert_is_worse(p_subject text, p_rule text, p_phase smallint, p_since timestamptz, p_severity text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT severity_rank(p_severity) > (SELECT severity_rank(a.severity) FROM alerts a
                                         WHERE a.subject = p_subject AND a.rule = p_rule AND a.phase = p_phase AND a.started_at >= p_since AND a.resolved_by IS NOT NULL
                                         ORDER BY a.started_at DESC, a.alert_id DESC LIMIT 1)
$$;
COMMENT ON FUNCTION alert_is_worse(text, text, smallint, timestamptz, text) IS 'Whether this is worse than what somebody closed the last alert at of what has been there since then; NULL where nobody did';

CREATE OR REPLACE FUNCTION alerts_advance(p_samples jsonb, p_now timestamptz, OUT fired integer, OUT resolved integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_at timestamptz;
    v_rule text;
    v_rules text[] := '{}';
    v_touched bigint[];
    v_over bigint[];
    v_alerts bigint[];
    v_ends timestamptz[];
BEGIN
    fired := 0;
    resolved := 0;
    FOR v_at IN SELECT DISTINCT s.at FROM jsonb_to_recordset(p_samples) AS s (at timestamptz) ORDER BY s.at LOOP
        WITH sample AS (
            SELECT s.*, r.rule, r.worse_severity, make_interval(mins => r.window_min) AS width, make_interval(secs => r.for_s) AS lasts, make_interval(secs => r.keep_s) AS keep,
                   CASE WHEN s.meter IS NOT NULL THEN 'meter ' || s.meter WHEN s.gateway IS NOT NULL THEN 'gateway ' || s.gateway ELSE 'region ' || s.region END AS subject,
                   2 * coalesce(make_interval(secs => d.interval_ms / 1000.0), INTERVAL '0') AS pause
              FROM jsonb_to_recordset(p_samples) AS s (id integer, meter integer, gateway integer, region text, phase smallint, at timestamptz, value double precision,
                                                       threshold double precision, level smallint, detail text)
              JOIN alert_rules r ON r.alert_rule_id = s.id
              LEFT JOIN devices d ON d.meter_id = s.meter AND d.valid @> p_now
             WHERE s.at = v_at
        ), moved AS (
            UPDATE alert_states x
               SET state = CASE WHEN n.state = 'ok' THEN x.state ELSE n.state END, since = n.since, cleared_since = n.cleared_since, seen_until = s.at,
                   level = s.level, value = s.value, threshold = s.threshold, alert_rule_id = s.id, detail = coalesce(s.detail, x.detail)
              FROM sample AS s
              JOIN alert_states y ON (y.subject, y.rule, y.phase) = (s.subject, s.rule, s.phase)
              LEFT JOIN alerts a ON a.alert_id = y.alert_id
             CROSS JOIN LATERAL alert_step(CASE WHEN y.state = 'dismissed' AND s.level = 3 AND alert_is_worse(y.subject, y.rule, y.phase, y.since, s.worse_severity) THEN 'ok'
                                                ELSE y.state END, y.since, y.cleared_since,
                                           -- Between two readings of a slow meter there is nothing to know.
                                           CASE WHEN s.at - y.seen_until <= s.pause THEN greatest(y.seen_until, s.at - s.width) ELSE y.seen_until END, s.level, s.at, s.width, s.lasts,
                                           CASE WHEN a.flapping THEN greatest(s.keep, INTERVAL '1 hour') ELSE s.keep END) AS n
             WHERE x.alert_state_id = y.alert_state_id AND s.at > y.seen_until
            RETURNING x.alert_state_id, n.state
        ), begun AS (
            INSERT INTO alert_states (rule, alert_rule_id, meter_id, gateway_id, region, phase, state, since, seen_until, level, value, threshold, detail)
            SELECT s.rule, s.id, s.meter, s.gateway, s.region, s.phase, n.state, n.since, s.at, s.level, s.value, s.threshold, s.detail
              FROM sample AS s
             CROSS JOIN LATERAL alert_step('ok', NULL, NULL, NULL, s.level, s.at, s.width, s.lasts, s.keep) AS n
             WHERE s.level >= 2
               -- What was over at that time already does not begin again by being looked at again.
               AND NOT EXISTS (SELECT FROM alerts a
                                WHERE a.subject = s.subject AND a.rule = s.rule AND a.phase = s.phase AND a.started_at >= s.at - INTERVAL '30 days'
                                  AND a.part_of IS NULL
                                  AND (a.resolved_at >= s.at
                                       -- Somebody closed it, and it was over later than that.
                                       OR a.resolved_by IS NOT NULL
                                          AND EXISTS (SELECT FROM alert_events e WHERE e.alert_id = a.alert_id AND e.kind = 'resolved' AND e.event_at >= s.at)))
            ON CONFLICT DO NOTHING
            RETURNING alert_state_id
        )
        SELECT array_agg(m.id) FILTER (WHERE m.state <> 'ok'), array_agg(m.id) FILTER (WHERE m.state = 'ok')
          INTO v_touched, v_over
          FROM (SELECT m.alert_state_id, m.state FROM moved AS m UNION ALL SELECT b.alert_state_id, 'pending' FROM begun AS b) AS m (id, state);
        IF v_over IS NOT NULL THEN
            WITH gone AS (
                DELETE FROM alert_states s WHERE s.alert_state_id = ANY (v_over) RETURNING s.alert_id, s.subject, s.rule, s.phase, s.state, s.seen_until
            ), closed AS (
                INSERT INTO alert_events (alert_id, kind, event_at, text, created_at)
                SELECT c.alert_id, 'resolved', g.seen_until, 'after it was closed', p_now
                  FROM gone AS g
                 CROSS JOIN LATERAL (SELECT a.alert_id FROM alerts a
                                      WHERE a.subject = g.subject AND a.rule = g.rule AND a.phase = g.phase AND a.resolved_by IS NOT NULL
                                      ORDER BY a.started_at DESC LIMIT 1) AS c
                 WHERE g.state = 'dismissed'
            )
            SELECT array_agg(g.alert_id) FILTER (WHERE g.alert_id IS NOT NULL), array_agg(g.seen_until) FILTER (WHERE g.alert_id IS NOT NULL),
                   v_rules || array_agg(DISTINCT g.rule)
              INTO v_alerts, v_ends, v_rules
              FROM gone AS g;
            resolved := resolved + alerts_resolve(v_alerts, v_ends, p_now);
        END IF;
        PERFORM alerts_follow(v_touched, p_now);
        IF EXISTS (SELECT FROM alert_states s WHERE s.alert_state_id = ANY (v_touched) AND s.state = 'firing' AND s.alert_id IS NULL) THEN
            FOR v_rule IN SELECT DISTINCT s.rule FROM alert_states s JOIN alert_groups g USING (rule) WHERE s.alert_state_id = ANY (v_touched) ORDER BY 1 LOOP
                PERFORM alerts_group(v_rule, p_now);
            END LOOP;
            fired := fired + alerts_fire(v_touched, p_now);
        END IF;
    END LOOP;
    FOR v_rule IN SELECT DISTINCT u FROM unnest(v_rules) AS u JOIN alert_groups g ON g.rule = u ORDER BY 1 LOOP
        PERFORM alerts_group(v_rule, p_now);
    END LOOP;
END
$$;
COMMENT ON FUNCTION alerts_advance(jsonb, timestamptz) IS
    'Moves states and alerts by samples: objects of id (alert_rule_id), meter, gateway or region, phase, at (end of the window), value, threshold, level and, if there is one, detail. What is older than what was seen changes nothing, so doing it again does not either. How many alerts fired and were resolved';
GRANT EXECUTE ON FUNCTION alerts_advance(jsonb, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION alerts_remember(p_samples jsonb, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_kept integer;
BEGIN
    WITH sample AS (
        SELECT s.id, s.meter, s.phase, array_agg(s.at ORDER BY s.at) AS ends, array_agg(s.level ORDER BY s.at) AS levels, array_agg(s.value ORDER BY s.at) AS amounts,
               (array_agg(s.threshold ORDER BY s.at))[1] AS threshold
          FROM jsonb_to_recordset(p_samples) AS s (id integer, meter integer, phase smallint, at timestamptz, value double precision, threshold double precision, level smallint)
         GROUP BY s.id, s.meter, s.phase
    ), kept AS (
        INSERT INTO alerts (rule, alert_rule_id, meter_id, phase, category, severity, state, value, threshold, unit, message, started_at, fired_at, resolved_at, late,
                            created_at, updated_at)
        SELECT r.rule, s.id, s.meter, s.phase, r.category, CASE WHEN e.worse AND r.worse_severity IS NOT NULL THEN r.worse_severity ELSE r.severity END, 'resolved',
               e.worst, s.threshold, c.unit, alert_message(r.metric, s.phase, e.worst, s.threshold, r.above, NULL), e.started_at, e.fired_at, coalesce(e.resolved_at, e.last_at), true,
               p_now, p_now
          FROM sample AS s
          JOIN alert_rules r ON r.alert_rule_id = s.id
          JOIN alert_metrics c USING (metric)
         CROSS JOIN LATERAL alert_episodes(s.ends, s.levels, s.amounts, r.above, make_interval(mins => r.window_min), make_interval(secs => r.for_s),
                                           make_interval(secs => r.keep_s)) AS e
         -- What is known already, of then or of since then, is not told anew.
         WHERE NOT EXISTS (SELECT FROM alerts a
                            WHERE a.subject = 'meter ' || s.meter AND a.rule = r.rule AND a.phase = s.phase AND a.started_at < coalesce(e.resolved_at, e.last_at)
                              AND coalesce(a.resolved_at, 'infinity') > e.started_at)
        RETURNING alert_id, fired_at, resolved_at
    ), told AS (
        INSERT INTO alert_events (alert_id, kind, event_at, created_at)
        SELECT k.alert_id, e.kind, e.at, p_now FROM kept AS k CROSS JOIN LATERAL (VALUES ('fired', k.fired_at), ('resolved', k.resolved_at)) AS e (kind, at)
    )
    SELECT count(*) INTO v_kept FROM kept;
    RETURN v_kept;
END
$$;
COMMENT ON FUNCTION alerts_remember(jsonb, timestamptz) IS 'Keeps what rules find in data that came late, as history that nobody is told of; how many alerts. Samples as for alerts_advance(), those of a meter without gaps in time that matter';
GRANT EXECUTE ON FUNCTION alerts_remember(jsonb, timestamptz) TO segs_worker;
