-- Validation of one local day of some meters, estimates and edits included. A rule that cannot be judged finds nothing: sum
-- without reads of the register near both ends of the day or across a step of it, high and low without like days among the last 21.

CREATE OR REPLACE FUNCTION day_findings(p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_day date)
RETURNS TABLE (rule text, meter_id integer, first_bucket timestamptz, last_bucket timestamptz, measured double precision,
               allowed double precision)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t);
    v_near CONSTANT interval := INTERVAL '1 hour';
BEGIN
    RETURN QUERY
    WITH rules AS MATERIALIZED (
        SELECT * FROM vee_rules AS r WHERE r.enabled
    ), quarter AS MATERIALIZED (
        SELECT e.meter_id, e.bucket, e.energy_import_wh AS wh, e.quality, e.source FROM effective_quarters(p_meters, p_from, p_to) AS e
    ), peak AS (
        SELECT q.meter_id, array_agg(q.wh ORDER BY q.wh DESC, q.bucket) AS wh, (array_agg(q.bucket ORDER BY q.wh DESC, q.bucket))[1] AS bucket
        FROM quarter AS q WHERE q.wh IS NOT NULL GROUP BY q.meter_id
    ), total AS (
        SELECT s.meter_id, s.lo, s.hi, sum(q.wh)::double precision AS wh,
               count(q.wh) * INTERVAL '15 minutes' = s.hi - s.lo AS complete
        FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi) JOIN quarter AS q ON q.meter_id = s.meter_id
        GROUP BY s.meter_id, s.lo, s.hi
    ), usual AS (
        SELECT t.meter_id, t.lo, t.hi, t.wh, count(u.wh) AS days, avg(u.wh)::double precision AS usual_wh
        FROM total AS t
        JOIN vee_meters AS m ON m.meter_id = t.meter_id
        CROSS JOIN LATERAL unnest(m.daily_import_wh) WITH ORDINALITY AS u (wh, n)
        WHERE t.complete AND m.last_day - 21 + u.n::integer <> p_day
          AND weekday_class(m.last_day - 21 + u.n::integer) = weekday_class(p_day)
        GROUP BY t.meter_id, t.lo, t.hi, t.wh
    ), edge AS (
        -- The register at both ends of the day, on a straight line between the reads around each.
        SELECT t.meter_id, e.at, before.wh + register_share(after.wh - before.wh, before.time, e.at, after.time) AS wh
        FROM total AS t
        JOIN rules AS r ON r.rule = 'sum'
        CROSS JOIN LATERAL (VALUES (t.lo), (t.hi)) AS e (at)
        CROSS JOIN LATERAL (
            SELECT w.time, w.energy_import_wh AS wh FROM raw_readings AS w
            WHERE w.meter_id = t.meter_id AND w.time >= e.at - v_near AND w.time < e.at AND w.time >= v_first - v_near AND w.time < v_last
              AND w.energy_import_wh IS NOT NULL ORDER BY w.time DESC LIMIT 1) AS before
        CROSS JOIN LATERAL (
            SELECT w.time, w.energy_import_wh AS wh FROM raw_readings AS w
            WHERE w.meter_id = t.meter_id AND w.time >= e.at AND w.time < e.at + v_near AND w.time >= v_first AND w.time < v_last + v_near
              AND w.energy_import_wh IS NOT NULL ORDER BY w.time LIMIT 1) AS after
        WHERE after.wh >= before.wh
    ), registered AS (
        SELECT t.meter_id, t.lo, t.hi, t.wh, last.wh - first.wh AS moved
        FROM total AS t
        JOIN edge AS first ON first.meter_id = t.meter_id AND first.at = t.lo
        JOIN edge AS last ON last.meter_id = t.meter_id AND last.at = t.hi
        WHERE last.wh >= first.wh AND NOT EXISTS (SELECT FROM quarter AS q WHERE q.meter_id = t.meter_id AND q.quality = 10)
          AND NOT EXISTS (SELECT FROM register_events AS e
                          WHERE e.meter_id = t.meter_id AND e.register = 1 AND e.at >= t.lo - v_near AND e.at < t.hi + v_near
                            AND e.kind <> 'glitch')
    ), run AS (
        SELECT n.meter_id, min(n.bucket) AS first_bucket, max(n.bucket) AS last_bucket, count(*) AS quarters
        FROM (SELECT c.*, count(*) FILTER (WHERE c.fresh) OVER (PARTITION BY c.meter_id ORDER BY c.bucket) AS number
              FROM (SELECT q.meter_id, q.bucket,
                           (abs(q.wh - lag(q.wh) OVER w) <= r.energy_wh AND q.bucket - lag(q.bucket) OVER w = INTERVAL '15 minutes')
                           IS NOT TRUE AS fresh
                    FROM quarter AS q JOIN rules AS r ON r.rule = 'consecutive'
                    -- No consumption at all is nothing odd for a meter; an alert tells of it where it is.
                    WHERE q.source = 'actual' AND q.wh > 0
                    WINDOW w AS (PARTITION BY q.meter_id ORDER BY q.bucket)) AS c) AS n
        GROUP BY n.meter_id, n.number
    )
    SELECT r.rule, p.meter_id, p.bucket, p.bucket, p.wh[1]::double precision, p.wh[r.number] * (1 + r.percent / 100)
    FROM peak AS p JOIN rules AS r ON r.rule = 'spike'
    WHERE p.wh[1] >= r.energy_wh AND p.wh[1] > p.wh[r.number] * (1 + r.percent / 100)
    UNION ALL
    SELECT r.rule, u.meter_id, u.lo, u.hi - INTERVAL '15 minutes', u.wh, u.usual_wh * r.percent / 100
    FROM usual AS u JOIN rules AS r ON r.rule IN ('high', 'low')
    WHERE u.days >= r.number AND u.usual_wh >= r.energy_wh
      AND CASE r.rule WHEN 'high' THEN u.wh > u.usual_wh * r.percent / 100 ELSE u.wh < u.usual_wh * r.percent / 100 END
    UNION ALL
    SELECT r.rule, s.meter_id, s.lo, s.hi - INTERVAL '15 minutes', s.wh, s.moved::double precision
    FROM registered AS s JOIN rules AS r ON r.rule = 'sum'
    WHERE abs(s.wh - s.moved) > greatest(r.energy_wh, s.moved * r.percent / 100)
    UNION ALL
    SELECT r.rule, n.meter_id, n.first_bucket, n.last_bucket, n.quarters::double precision, (r.number - 1)::double precision
    FROM run AS n JOIN rules AS r ON r.rule = 'consecutive'
    WHERE n.quarters >= r.number;
END
$$;
COMMENT ON FUNCTION day_findings(integer[], timestamptz[], timestamptz[], date) IS
    'What vee_rules find in the imported energy of one local day of some meters, which is from p_from to p_to for each';
GRANT EXECUTE ON FUNCTION day_findings(integer[], timestamptz[], timestamptz[], date) TO segs_worker, segs_readonly;
