-- Statements of the replay of alerts over history.

-- name: rules
-- Rules in force that look at minutes or quarter-hours of meters, with their units. Domain database.
SELECT r.alert_rule_id, r.rule, r.above, r.window_min, r.for_s, r.keep_s, r.severity, r.worse_severity, m.unit, m.step_min
FROM alert_rules AS r JOIN alert_metrics AS m USING (metric) WHERE r.valid @> %(now)s AND m.subject = 'meter' AND m.step_min > 0;

-- name: meters
-- Meters with these codes, or all. Domain database.
SELECT meter_id, meter_code FROM meters WHERE %(codes)s::text[] = '{}' OR meter_code = ANY (%(codes)s) ORDER BY meter_id;

-- name: terms
-- By what they are looked at. Domain database.
SELECT alert_terms(%(meters)s, %(step_min)s, %(now)s) AS terms;

-- name: kept
-- Whether anything is kept of these meters in a span. Telemetry database.
SELECT EXISTS (SELECT FROM aggregates_1m WHERE meter_id = ANY (%(meters)s) AND bucket >= %(from)s AND bucket < %(to)s) AS minutes,
    EXISTS (SELECT FROM aggregates_15m WHERE meter_id = ANY (%(meters)s) AND bucket >= %(from)s AND bucket < %(to)s) AS quarters;

-- name: episodes
-- What the rules would have raised. Telemetry database.
WITH sample AS (
    SELECT s.id, s.meter, s.phase, array_agg(s.at ORDER BY s.at) AS ends, array_agg(s.level ORDER BY s.at) AS levels, array_agg(s.value ORDER BY s.at) AS amounts,
           min(s.threshold) AS threshold
    FROM alert_judged(%(meters)s, %(from)s, %(to)s, %(step_min)s, %(terms)s, true, %(to)s) AS s
    GROUP BY s.id, s.meter, s.phase
)
SELECT s.id, s.meter, s.phase, s.threshold, e.started_at, e.fired_at, e.resolved_at, e.worst, e.worse
FROM sample AS s
CROSS JOIN LATERAL (SELECT %(rules)s::jsonb -> s.id::text AS of) AS r
CROSS JOIN LATERAL alert_episodes(s.ends, s.levels, s.amounts, (r.of ->> 'above')::boolean, make_interval(mins => (r.of ->> 'window')::integer),
                                  make_interval(secs => (r.of ->> 'for')::integer), make_interval(secs => (r.of ->> 'keep')::integer)) AS e
ORDER BY s.meter, e.started_at, s.id, s.phase;
