-- Many alerts of one rule that have a gateway, a site or a region in common are one alert of that.

CREATE OR REPLACE FUNCTION alert_group_sizes(p_rule text, p_scope text, p_now timestamptz)
RETURNS TABLE (name text, affected integer, sites integer, members integer, since timestamptz, states bigint[], ripe boolean)
LANGUAGE sql STABLE SET search_path = public, pg_temp
-- How many are silent nobody can say beforehand: what is quickest for ten takes for ever for ten thousand.
SET enable_nestloop = off AS $$
    WITH term AS MATERIALIZED (
        SELECT coalesce(make_interval(secs => g.within_s), INTERVAL '1000 years') AS within FROM alert_groups g WHERE g.rule = p_rule AND g.scope = p_scope
    ), member AS MATERIALIZED (
        SELECT m.meter_id, coalesce(m.site, m.meter_code) AS site, CASE p_scope WHEN 'region' THEN l.region WHEN 'site' THEN m.site ELSE d.gateway_id::text END AS name,
               greatest(t.within, make_interval(secs => d.interval_ms / 1000.0)) AS within
          FROM term AS t
         CROSS JOIN meters m
          JOIN devices d ON d.meter_id = m.meter_id AND d.valid @> p_now
          JOIN meter_locations l ON l.meter_id = m.meter_id AND l.valid @> p_now
         WHERE m.status IN ('registered', 'active', 'faulty')
    ), whole AS (
        SELECT m.name, count(*)::integer AS members FROM member AS m WHERE m.name IS NOT NULL GROUP BY m.name
    ), raised AS (
        -- It may have begun at any time until the next reading was missed.
        SELECT s.alert_state_id, s.since, s.since + m.within AS until, s.state, m.name, m.site, v.meter_id IS NOT NULL AS covered
          FROM alert_states s JOIN member AS m USING (meter_id)
          LEFT JOIN alert_covered(ARRAY[p_rule], p_now) AS v ON v.meter_id = s.meter_id
         WHERE s.rule = p_rule AND s.state IN ('pending', 'firing') AND s.level >= 1 AND m.name IS NOT NULL
    ), moment AS (
        -- How many may have begun at one time: one that began later by chance hides none of those that began together.
        SELECT e.name, e.at, e.n, sum(e.n) OVER (PARTITION BY e.name ORDER BY e.at, e.n DESC) AS beside
          FROM (SELECT r.name, r.since, 1 FROM raised AS r UNION ALL SELECT r.name, r.until, -1 FROM raised AS r) AS e (name, at, n)
    ), first AS (
        SELECT DISTINCT ON (m.name) m.name, m.at FROM moment AS m WHERE m.n = 1 ORDER BY m.name, m.beside DESC, m.at DESC
    ), together AS (
        SELECT r.*, f.at BETWEEN r.since AND r.until AS counts FROM raised AS r JOIN first AS f USING (name)
    )
    SELECT w.name, count(*) FILTER (WHERE t.counts)::integer, count(DISTINCT t.site) FILTER (WHERE t.counts)::integer, w.members, min(t.since) FILTER (WHERE t.counts),
           array_agg(DISTINCT t.alert_state_id), bool_or(t.state = 'firing' AND NOT t.covered)
      FROM together AS t JOIN whole AS w USING (name)
     GROUP BY w.name, w.members
$$;
COMMENT ON FUNCTION alert_group_sizes(text, text, timestamptz) IS 'How many of each gateway, site or region are affected by a rule, within the time that counts as together, their interval where that is longer; of how many, since when, their states, and whether one of them has lasted long enough and is not part of something larger';

CREATE OR REPLACE FUNCTION alert_states_of(p_alerts bigint[], p_now timestamptz) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT s.alert_state_id FROM alert_states s WHERE s.alert_id = ANY (p_alerts)
    UNION
    SELECT s.alert_state_id
      FROM alerts a
      JOIN alert_groups g ON g.group_rule = a.rule
      JOIN alert_states s ON s.rule = g.rule AND s.alert_id IS NULL AND s.meter_id IS NOT NULL
     WHERE a.alert_id = ANY (p_alerts) AND a.state <> 'resolved'
       AND CASE g.scope
           WHEN 'region' THEN EXISTS (SELECT FROM meter_locations l WHERE l.meter_id = s.meter_id AND l.region = a.region AND l.valid @> p_now)
           WHEN 'site' THEN EXISTS (SELECT FROM meters m WHERE m.meter_id = s.meter_id AND m.site = a.site)
           ELSE EXISTS (SELECT FROM devices d WHERE d.meter_id = s.meter_id AND d.gateway_id = a.gateway_id AND d.valid @> p_now) END
$$;
COMMENT ON FUNCTION alert_states_of(bigint[], timestamptz) IS 'States that alerts are of, or that they stand for';

CREATE OR REPLACE FUNCTION alert_parts(p_alerts bigint[]) RETURNS TABLE (alert_id bigint, whole bigint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH RECURSIVE part AS (
        SELECT u AS alert_id, u AS whole FROM unnest(p_alerts) AS u
        UNION ALL
        SELECT a.alert_id, p.whole FROM part AS p JOIN alerts a ON a.part_of = p.alert_id
    )
    SELECT p.alert_id, p.whole FROM part AS p WHERE p.alert_id <> p.whole
$$;
COMMENT ON FUNCTION alert_parts(bigint[]) IS 'Alerts that became part of these, also by way of others, and of which of these';

CREATE OR REPLACE FUNCTION alerts_group(p_rule text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_group alert_groups;
    v_found record;
    v_alert_id bigint;
    v_before integer;
    v_gone integer;
    v_left integer;
    v_raised boolean;
    v_over boolean;
    v_opened integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM alert_groups g WHERE g.rule = p_rule) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.alerts_group.' || p_rule, 0));
    FOR v_group IN SELECT g.* FROM alert_groups g WHERE g.rule = p_rule ORDER BY array_position(ARRAY['region', 'site', 'gateway'], g.scope) LOOP
        FOR v_found IN
            SELECT n.name AS of, z.*, a.alert_id AS open_id, a.state, a.flapping, a.started_at
              FROM (SELECT a.* FROM alerts a WHERE a.rule = v_group.group_rule AND a.state <> 'resolved') AS a
              FULL JOIN alert_group_sizes(p_rule, v_group.scope, p_now) AS z ON z.name = coalesce(a.region, a.site, a.gateway_id::text)
             CROSS JOIN LATERAL (SELECT coalesce(z.name, a.region, a.site, a.gateway_id::text) AS name) AS n
        LOOP
            -- What had begun before is no part of it: a dead meter does not hide that all others fell silent, nor keep open what they made.
            SELECT count(*) FILTER (WHERE s.since < v_found.since), count(*) FILTER (WHERE s.since >= v_found.started_at) INTO v_gone, v_left
              FROM alert_states s WHERE s.alert_state_id = ANY (v_found.states);
            v_raised := (CASE WHEN v_group.by_site THEN v_found.sites ELSE v_found.affected END) >= v_group.at_least
                        AND v_found.affected * 100.0 >= v_group.share_percent * (v_found.members - CASE WHEN v_group.share_percent = 100 THEN v_gone ELSE 0 END) AND v_found.ripe;
            -- It is over when few are left; half as many, so that it does not come and go.
            v_over := coalesce(CASE WHEN v_group.by_site THEN v_found.sites ELSE v_left END, 0) < v_group.at_least
                      OR v_left * 100.0 < v_group.share_percent / 2 * coalesce(v_found.members, 0);
            IF v_found.open_id IS NULL AND v_raised THEN
                -- Coming and going four times within an hour is one alert, that stays.
                SELECT count(*) FILTER (WHERE a.fired_at > p_now - INTERVAL '1 hour') + count(*) FILTER (WHERE a.resolved_at > p_now - INTERVAL '1 hour')
                  INTO v_before
                  FROM alerts a
                 WHERE a.rule = v_group.group_rule AND a.subject = v_group.scope || ' ' || v_found.of AND a.part_of IS NULL AND a.started_at > p_now - INTERVAL '1 day';
                INSERT INTO alerts (rule, gateway_id, site, region, category, severity, state, value, threshold, unit, message, started_at, fired_at, flapping, tell_at, created_at,
                                    updated_at)
                SELECT v_group.group_rule, CASE WHEN v_group.scope = 'gateway' THEN v_found.of::integer END, CASE WHEN v_group.scope = 'site' THEN v_found.of END,
                       CASE WHEN v_group.scope = 'region' THEN v_found.of END, r.category, v_group.severity, 'firing', v_found.affected, v_found.members, 'meters',
                       format('%s: %s of %s', v_group.title, v_found.affected, v_found.members), v_found.since, greatest(p_now, v_found.since), v_before >= 3, p_now,
                       p_now, p_now
                  FROM alert_rules r WHERE r.rule = p_rule AND num_nonnulls(r.region, r.meter_id) = 0 ORDER BY r.valid DESC LIMIT 1
                ON CONFLICT DO NOTHING RETURNING alert_id INTO v_alert_id;
                CONTINUE WHEN v_alert_id IS NULL;
                INSERT INTO alert_events (alert_id, kind, event_at, created_at)
                SELECT v_alert_id, k.kind, p_now, p_now FROM unnest(CASE WHEN v_before >= 3 THEN ARRAY['fired', 'flapping'] ELSE ARRAY['fired'] END) AS k (kind);
                PERFORM alerts_join(v_alert_id, p_rule, v_group.scope, v_found.states, p_now);
                v_opened := v_opened + 1;
            ELSIF v_found.state = 'clearing' AND v_raised THEN
                UPDATE alerts a SET state = 'firing' WHERE a.alert_id = v_found.open_id;
                INSERT INTO alert_events (alert_id, kind, event_at, created_at) VALUES (v_found.open_id, 'again', p_now, p_now);
                PERFORM alerts_join(v_found.open_id, p_rule, v_group.scope, v_found.states, p_now);
            ELSIF v_found.state = 'clearing' THEN
                IF NOT EXISTS (SELECT FROM alert_events e WHERE e.alert_id = v_found.open_id AND e.kind = 'clearing' AND e.event_at > p_now - INTERVAL '1 hour') THEN
                    PERFORM alerts_resolve(ARRAY[v_found.open_id], ARRAY[p_now], p_now);
                END IF;
            ELSIF v_found.state = 'firing' AND v_over AND v_found.flapping THEN
                UPDATE alerts a SET state = 'clearing' WHERE a.alert_id = v_found.open_id;
                INSERT INTO alert_events (alert_id, kind, event_at, created_at) VALUES (v_found.open_id, 'clearing', p_now, p_now);
            ELSIF v_found.state = 'firing' AND v_over THEN
                PERFORM alerts_resolve(ARRAY[v_found.open_id], ARRAY[p_now], p_now);
            ELSIF v_found.state = 'firing' THEN
                PERFORM alerts_join(v_found.open_id, p_rule, v_group.scope, v_found.states, p_now);
            END IF;
        END LOOP;
    END LOOP;
    RETURN v_opened;
END
$$;
COMMENT ON FUNCTION alerts_group(text, timestamptz) IS 'Opens and resolves the alerts that stand for many of this rule, one transaction at a time; how many were opened';

CREATE OR REPLACE FUNCTION alerts_join(p_alert_id bigint, p_rule text, p_scope text, p_states bigint[], p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH smaller AS (
        SELECT a.alert_id FROM alert_states s JOIN alerts a USING (alert_id) WHERE s.alert_state_id = ANY (p_states) AND a.state <> 'resolved'
        UNION ALL
        -- A site and a gateway of which all meters are among them.
        SELECT a.alert_id
          FROM alert_groups g JOIN alerts a ON a.rule = g.group_rule AND a.state <> 'resolved'
         WHERE g.rule = p_rule AND a.alert_id <> p_alert_id AND (p_scope = 'region' AND g.scope <> 'region' OR p_scope = 'site' AND g.scope = 'gateway')
           AND NOT EXISTS (SELECT FROM alert_states s
                             JOIN meters m USING (meter_id)
                             LEFT JOIN devices d ON d.meter_id = s.meter_id AND d.valid @> p_now
                            WHERE s.rule = p_rule AND (m.site = a.site OR d.gateway_id = a.gateway_id) AND s.alert_state_id <> ALL (p_states))
    ), joined AS (
        UPDATE alerts a
           SET state = 'resolved', resolved_at = greatest(p_now, a.started_at), part_of = p_alert_id, tell_at = NULL
          FROM smaller AS w WHERE a.alert_id = w.alert_id
        RETURNING a.alert_id
    ), left_behind AS (
        UPDATE alert_states s SET alert_id = NULL FROM joined AS j WHERE s.alert_id = j.alert_id
    )
    INSERT INTO alert_events (alert_id, kind, event_at, text, created_at)
    SELECT j.alert_id, 'joined', p_now, 'part of alert ' || p_alert_id, p_now FROM joined AS j
$$;
COMMENT ON FUNCTION alerts_join(bigint, text, text, bigint[], timestamptz) IS 'One alert stands from now on for those of these states, and for smaller groups of them';
