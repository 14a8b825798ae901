-- Statements about alerts, of the API and of `segs-cloud alerts`. Domain database; the tables' policies say which rows there are.

-- name: look
-- Before a look at some alerts.
SELECT alert_look(%(what)s, %(alerts)s::bigint[]);

-- name: named
-- Whether there are the region, the site, the gateway, the meter and the rule that a list is asked for. A rule that ended has its alerts still.
SELECT %(region)s::text IS NULL OR EXISTS (SELECT FROM regions WHERE region = %(region)s) AS region,
    %(site)s::text IS NULL OR EXISTS (SELECT FROM meters WHERE site = %(site)s) OR EXISTS (SELECT FROM alerts WHERE site = %(site)s) AS site,
    %(gateway)s::text IS NULL OR EXISTS (SELECT FROM gateways WHERE name = %(gateway)s) AS gateway,
    %(meter)s::text IS NULL OR EXISTS (SELECT FROM meters WHERE meter_code = %(meter)s) AS meter,
    %(rule)s::text IS NULL OR EXISTS (SELECT FROM alert_rules WHERE rule = %(rule)s) OR EXISTS (SELECT FROM alert_groups WHERE group_rule = %(rule)s) AS rule;

-- name: names
-- Which regions, sites, gateways and rules there are, at most 50 of each.
SELECT ARRAY(SELECT region FROM regions ORDER BY region LIMIT 50) AS region,
    ARRAY(SELECT DISTINCT site FROM meters WHERE site IS NOT NULL ORDER BY site LIMIT 50) AS site,
    ARRAY(SELECT name FROM gateways ORDER BY name LIMIT 50) AS gateway,
    ARRAY(SELECT rule FROM alert_rules UNION SELECT group_rule FROM alert_groups ORDER BY rule LIMIT 50) AS rule;

-- name: page
-- One page, the newest first; one more than is shown says whether there is another.
SELECT a.alert_id, a.meter_id, a.rule, a.category, a.severity, a.state, coalesce(m.meter_code, g.name, a.site, a.region) AS subject, m.meter_code AS meter,
    g.name AS gateway, a.site, a.region, a.phase, a.value, a.threshold, a.unit, a.message, a.started_at, a.fired_at, a.acknowledged_at, a.acknowledged_by,
    a.resolved_at, a.resolved_by, a.part_of, a.flapping, a.late, a.told_at, a.escalations, a.updated_at
FROM alerts AS a LEFT JOIN meters AS m USING (meter_id) LEFT JOIN gateways AS g USING (gateway_id)
WHERE (%(after)s = 0 OR a.alert_id < %(after)s) AND (%(alert)s::bigint IS NULL OR a.alert_id = %(alert)s)
    AND (%(state)s::text IS NULL OR a.state = %(state)s) AND (%(open)s::boolean IS NULL OR (a.state <> 'resolved') = %(open)s)
    AND (%(acknowledged)s::boolean IS NULL OR (a.acknowledged_at IS NOT NULL) = %(acknowledged)s)
    AND (%(severity)s::text IS NULL OR array_position(ARRAY['low', 'medium', 'warning', 'high', 'critical'], a.severity)
                                       >= array_position(ARRAY['low', 'medium', 'warning', 'high', 'critical'], %(severity)s))
    AND (%(rule)s::text IS NULL OR a.rule = %(rule)s) AND (%(category)s::text IS NULL OR a.category = %(category)s)
    AND (%(from)s::timestamptz IS NULL OR a.started_at >= %(from)s) AND (%(to)s::timestamptz IS NULL OR a.started_at < %(to)s)
    AND (%(meter)s::text IS NULL OR m.meter_code = %(meter)s)
    AND (%(site)s::text IS NULL OR coalesce(a.site, m.site) = %(site)s)
    AND (%(gateway)s::text IS NULL OR coalesce(g.name, (SELECT x.name FROM devices AS d JOIN gateways AS x USING (gateway_id)
                                                        WHERE d.meter_id = a.meter_id AND d.valid @> clock_timestamp())) = %(gateway)s)
    AND (%(region)s::text IS NULL OR coalesce(a.region, g.region, (SELECT l.region FROM meter_locations AS l WHERE l.meter_id = a.meter_id AND l.valid @> clock_timestamp()))
                                     = %(region)s
         OR a.site IN (SELECT s.site FROM meters AS s JOIN meter_locations AS l USING (meter_id) WHERE l.region = %(region)s AND l.valid @> clock_timestamp()))
ORDER BY a.alert_id DESC LIMIT %(limit)s + 1;

-- name: events
-- What became of one, in order.
SELECT e.alert_event_id AS event_id, e.kind, e.event_at AS at, e.user_id, e.text FROM alert_events AS e WHERE e.alert_id = %(alert)s ORDER BY e.alert_event_id;

-- name: act
-- Some are taken on or closed, by who looks after them; what became of each.
SELECT alert_id, outcome FROM caller_acts_on_alerts(%(action)s, %(alerts)s::bigint[], %(note)s, %(now)s) ORDER BY alert_id;

-- name: comment
-- What somebody says to one.
SELECT caller_comments_on_alert(%(alert)s, %(text)s, %(now)s);

-- name: operator
-- From now on the operator or admin with this address acts, by the rights that they have.
SELECT set_config('segs.user_id', user_id::text, true) FROM users WHERE email = %(email)s AND role IN ('OPERATOR', 'ADMIN') AND suspended_at IS NULL AND deleted_at IS NULL;

-- name: statistics
-- How many began in a span, and how long people and the alerts themselves took: all together, by rule, by severity and by state. What came late is counted
-- and not timed.
SELECT a.rule, a.severity, a.state, count(*) AS alerts, count(*) FILTER (WHERE a.state <> 'resolved') AS open, count(a.acknowledged_at) AS acknowledged,
    avg(EXTRACT(epoch FROM greatest(a.acknowledged_at - a.fired_at, INTERVAL '0')))
        FILTER (WHERE NOT a.late AND a.acknowledged_at IS NOT NULL)::float8 AS mean_acknowledge_s,
    avg(EXTRACT(epoch FROM a.resolved_at - a.started_at)) FILTER (WHERE NOT a.late AND a.part_of IS NULL)::float8 AS mean_resolve_s
FROM alerts AS a WHERE a.started_at >= %(from)s AND a.started_at < %(to)s
GROUP BY GROUPING SETS ((), (a.rule), (a.severity), (a.state)) ORDER BY a.rule, a.severity, a.state;

-- name: live
-- What became of alerts since a cursor, for who looks on.
SELECT cursor, events FROM caller_alert_events(%(cursor)s, 500, %(now)s);

-- name: metrics
-- What rules may measure.
SELECT metric, subject, unit, title, step_min FROM alert_metrics ORDER BY subject, metric;

-- name: rules
-- Rules by name: those for all, then of regions, then of meters; those in force, or all that were.
SELECT r.alert_rule_id, r.rule, r.region, m.meter_code AS meter, r.meter_id, nullif(lower(r.valid), '-infinity') AS "from", nullif(upper(r.valid), 'infinity') AS "to",
    r.metric, c.unit, r.above, r.raise_at, r.clear_at, r.worse_at, r.severity, r.worse_severity, r.worse_after_s, r.window_min, r.for_s, r.keep_s, r.hold_s,
    r.min_load_percent, r.rating_percent, r.category, r.tells_owner, r.tells_operators, r.enabled
FROM alert_rules AS r JOIN alert_metrics AS c USING (metric) LEFT JOIN meters AS m USING (meter_id)
WHERE r.alert_rule_id > %(after)s AND (%(id)s::integer IS NULL OR r.alert_rule_id = %(id)s) AND (%(history)s OR r.valid @> clock_timestamp())
    AND (%(rule)s::text IS NULL OR r.rule = %(rule)s) AND (%(region)s::text IS NULL OR r.region = %(region)s)
    AND (%(meter)s::text IS NULL OR m.meter_code = %(meter)s)
ORDER BY r.alert_rule_id LIMIT %(limit)s + 1;

-- name: rule_set
-- Another version of a rule, by who runs the system.
SELECT alert_rule_set(%(rule)s, %(region)s, %(meter_id)s, %(change)s::jsonb, clock_timestamp());

-- name: rule_end
-- Its end; how many alerts were resolved.
SELECT alert_rule_end(%(rule)s, %(region)s, %(meter_id)s, clock_timestamp()) AS resolved;

-- name: caller_rule_set
-- Another version of a rule, by who looks after the region or the meter.
SELECT caller_sets_rule(%(rule)s, %(region)s, %(meter)s, %(change)s::jsonb, clock_timestamp());

-- name: caller_rule_end
-- Its end.
SELECT caller_ends_rule(%(rule)s, %(region)s, %(meter)s, clock_timestamp());

-- name: subject
-- What is meant by the name that people use.
SELECT meter_id, gateway_id, site, region FROM maintenance_subject(%(meter)s, %(gateway)s, %(site)s, %(region)s);

-- name: maintenance
-- Maintenance windows, the newest first: what is not over, or all.
SELECT w.maintenance_window_id AS window_id, w.meter_id, m.meter_code AS meter, g.name AS gateway, w.site, w.region, lower(w.valid) AS "from", upper(w.valid) AS until,
    w.reason, w.created_by, w.created_at
FROM maintenance_windows AS w LEFT JOIN meters AS m USING (meter_id) LEFT JOIN gateways AS g USING (gateway_id)
WHERE (%(after)s = 0 OR w.maintenance_window_id < %(after)s) AND (%(window)s::bigint IS NULL OR w.maintenance_window_id = %(window)s)
    AND (%(history)s OR upper(w.valid) > clock_timestamp())
ORDER BY w.maintenance_window_id DESC LIMIT %(limit)s + 1;

-- name: maintenance_add
-- A maintenance window, by who runs the system.
SELECT maintenance_add(s.meter_id, s.gateway_id, s.site, s.region, %(from)s, %(until)s, %(reason)s, clock_timestamp()) AS window_id
FROM maintenance_subject(%(meter)s, %(gateway)s, %(site)s, %(region)s) AS s;

-- name: maintenance_end
-- Its end.
SELECT maintenance_end(%(window)s, clock_timestamp());

-- name: caller_maintenance_add
-- A maintenance window, by who looks after its subject.
SELECT caller_adds_maintenance(%(meter)s, %(gateway)s, %(site)s, %(region)s, %(from)s, %(until)s, %(reason)s, clock_timestamp());

-- name: caller_maintenance_end
-- Its end.
SELECT caller_ends_maintenance(%(window)s, clock_timestamp());
