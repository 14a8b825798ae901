-- Meters of which nothing is heard. By the clock, and not by what arrives: a blackout sends nothing.

CREATE OR REPLACE FUNCTION alerts_silence(p_silent jsonb, p_now timestamptz, OUT fired integer, OUT resolved integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_rule CONSTANT text := 'no_data';
    v_meters integer[];
    v_since timestamptz[];
    v_intervals double precision[];
    v_rules integer[];
    v_raise double precision[];
    v_alerts bigint[];
    v_changed bigint[];
    v_worse bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.alerts_silence', 0));
    SELECT coalesce(array_agg(s.meter), '{}'), array_agg(s.since), array_agg(s.intervals), array_agg(r.alert_rule_id), array_agg(r.raise_at)
      INTO v_meters, v_since, v_intervals, v_rules, v_raise
      FROM jsonb_to_recordset(p_silent) AS s (meter integer, since timestamptz, intervals double precision)
      JOIN meters m ON m.meter_id = s.meter AND m.status IN ('registered', 'active', 'faulty')
      JOIN meter_locations l ON l.meter_id = s.meter AND l.valid @> p_now
     CROSS JOIN LATERAL (
           SELECT r.alert_rule_id, r.raise_at, r.enabled FROM alert_rules r
            WHERE r.rule = v_rule AND r.valid @> p_now AND coalesce(r.meter_id, s.meter) = s.meter AND coalesce(r.region, l.region) = l.region
            ORDER BY r.meter_id NULLS LAST, r.region NULLS LAST LIMIT 1) AS r
     WHERE r.enabled AND r.raise_at IS NOT NULL AND s.since IS NOT NULL
           -- Of one that nothing reads any more nothing is expected; telemetry learns of that a moment later.
       AND EXISTS (SELECT FROM devices d WHERE d.meter_id = s.meter AND d.valid @> p_now);
    WITH heard AS (
        -- What comes and goes stays until it was heard for an hour.
        SELECT s.alert_state_id,
               a.flapping AND (s.state <> 'clearing' OR s.cleared_since > p_now - INTERVAL '1 hour')
                   AND EXISTS (SELECT FROM devices d WHERE d.meter_id = s.meter_id AND d.valid @> p_now) AS stays
          FROM alert_states s LEFT JOIN alerts a USING (alert_id)
         -- What another worker saw a moment later stays, and not what a clock saw that was ahead.
         WHERE s.rule = v_rule AND s.seen_until NOT BETWEEN p_now + INTERVAL '1 microsecond' AND p_now + INTERVAL '15 minutes'
           AND s.meter_id NOT IN (SELECT u FROM unnest(v_meters) AS u)
           AND s.meter_id NOT IN (SELECT q.meter FROM jsonb_to_recordset(p_silent) AS q (meter integer, since timestamptz) WHERE q.since IS NULL)
    ), cleared AS (
        UPDATE alert_states s SET state = 'clearing', since = p_now, cleared_since = p_now, seen_until = p_now, level = 0
          FROM heard AS h WHERE s.alert_state_id = h.alert_state_id AND h.stays AND s.state <> 'clearing'
        RETURNING s.alert_state_id
    ), gone AS (
        DELETE FROM alert_states s USING heard AS h WHERE s.alert_state_id = h.alert_state_id AND h.stays IS NOT TRUE RETURNING s.alert_id
    )
    SELECT (SELECT array_agg(c.alert_state_id) FROM cleared AS c), (SELECT array_agg(g.alert_id) FROM gone AS g WHERE g.alert_id IS NOT NULL) INTO v_changed, v_alerts;
    resolved := alerts_resolve(v_alerts, array_fill(p_now, ARRAY[coalesce(cardinality(v_alerts), 0)]), p_now);
    -- One that is not silent for long enough waits, and is counted with the others of its site and region.
    WITH silent AS (
        INSERT INTO alert_states AS s (rule, alert_rule_id, meter_id, state, since, seen_until, level, value, threshold)
        SELECT v_rule, q.rule_id, q.meter_id, CASE WHEN q.intervals > q.raise_at THEN 'firing' ELSE 'pending' END, least(q.since, p_now), p_now, 2, q.intervals, q.raise_at
          FROM unnest(v_meters, v_since, v_intervals, v_rules, v_raise) AS q (meter_id, since, intervals, rule_id, raise_at)
        ON CONFLICT (subject, rule, phase) DO UPDATE
           SET state = excluded.state, since = CASE WHEN s.state = 'clearing' THEN excluded.since ELSE s.since END, cleared_since = NULL, seen_until = excluded.seen_until,
               level = excluded.level, value = excluded.value, threshold = excluded.threshold, alert_rule_id = excluded.alert_rule_id
         WHERE s.state IN ('pending', 'clearing') AND excluded.state = 'firing'
        RETURNING s.alert_state_id, s.alert_id
    )
    SELECT v_changed || array_agg(n.alert_state_id) INTO v_changed FROM silent AS n WHERE n.alert_id IS NOT NULL;
    PERFORM alerts_follow(v_changed, p_now);
    -- Who closed a warning has not closed what became of it.
    UPDATE alert_states AS s SET state = 'firing', level = 3, seen_until = p_now, value = q.intervals
      FROM alert_rules r, unnest(v_meters, v_intervals) AS q (meter_id, intervals)
     WHERE s.rule = v_rule AND s.meter_id = q.meter_id AND s.state = 'dismissed' AND r.alert_rule_id = s.alert_rule_id
       AND r.worse_after_s <= EXTRACT(epoch FROM p_now - s.since) AND alert_is_worse(s.subject, s.rule, s.phase, s.since, r.worse_severity);
    PERFORM alerts_group(v_rule, p_now);
    fired := alerts_fire(ARRAY(SELECT s.alert_state_id FROM alert_states s WHERE s.rule = v_rule AND s.state = 'firing' AND s.alert_id IS NULL), p_now);
    -- What has lasted so long that it is worse.
    WITH worse AS (
        UPDATE alert_states s SET seen_until = p_now, value = q.intervals
          FROM alerts a, alert_rules r, unnest(v_meters, v_intervals) AS q (meter_id, intervals)
         WHERE s.rule = v_rule AND s.meter_id = q.meter_id AND a.alert_id = s.alert_id AND r.alert_rule_id = s.alert_rule_id
           AND r.worse_after_s <= EXTRACT(epoch FROM p_now - s.since) AND severity_rank(r.worse_severity) > severity_rank(a.severity)
        RETURNING s.alert_state_id
    )
    SELECT array_agg(w.alert_state_id) INTO v_worse FROM worse AS w;
    PERFORM alerts_follow(v_worse, p_now);
    -- What stands for many gets worse as each of them would.
    WITH worse AS (
        UPDATE alerts a SET severity = r.worse_severity, tell_at = coalesce(a.tell_at, p_now), acknowledged_at = NULL, acknowledged_by = NULL
          FROM (SELECT o.alert_id, (alert_rule_in_force(v_rule, o.region, NULL, p_now)).*
                  FROM alerts o JOIN alert_groups g ON g.group_rule = o.rule WHERE g.rule = v_rule AND o.state = 'firing') AS r
         WHERE a.alert_id = r.alert_id AND r.worse_after_s <= EXTRACT(epoch FROM p_now - a.started_at) AND severity_rank(r.worse_severity) > severity_rank(a.severity)
           -- One that comes and goes began anew each time.
           AND NOT EXISTS (SELECT FROM alert_events e
                            WHERE e.alert_id = a.alert_id AND e.kind = 'clearing' AND e.event_at > p_now - make_interval(secs => r.worse_after_s))
        RETURNING a.alert_id, a.message
    )
    INSERT INTO alert_events (alert_id, kind, event_at, text, created_at) SELECT w.alert_id, 'worse', p_now, w.message, p_now FROM worse AS w;
END
$$;
COMMENT ON FUNCTION alerts_silence(jsonb, timestamptz) IS 'Takes note of all meters that are silent: objects of meter, since (its last reading) and intervals; of those without since nothing is known, and what they have stays. Who is not among them was heard. How many alerts fired and were resolved';
GRANT EXECUTE ON FUNCTION alerts_silence(jsonb, timestamptz) TO segs_worker;
