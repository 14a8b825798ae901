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

CREATE OR REPLACE FUNCTION remember_day(p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_day date) RETURNS void
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    INSERT INTO vee_meters AS m (meter_id, last_actual, last_day, daily_import_wh)
    SELECT s.meter_id, COALESCE(d.last_actual, '-infinity'), p_day, array_fill(NULL::bigint, ARRAY[20]) || d.wh
    FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
    LEFT JOIN LATERAL (
        SELECT max(e.bucket) FILTER (WHERE e.power_w_count > 0 OR e.coverage > 0 OR e.source = 'actual') AS last_actual,
               CASE WHEN count(e.energy_import_wh) * INTERVAL '15 minutes' = s.hi - s.lo THEN sum(e.energy_import_wh)::bigint END AS wh
        FROM effective_quarters(ARRAY[s.meter_id], ARRAY[s.lo], ARRAY[s.hi]) AS e
    ) AS d ON true
    ON CONFLICT (meter_id) DO UPDATE
    SET last_actual = greatest(m.last_actual, excluded.last_actual), last_day = greatest(m.last_day, p_day),
        daily_import_wh = ARRAY(
            SELECT CASE WHEN day = p_day THEN excluded.daily_import_wh[21] ELSE m.daily_import_wh[day - m.last_day + 21] END
            FROM (SELECT greatest(m.last_day, p_day) - 21 + n AS day FROM generate_series(1, 21) AS n) AS days ORDER BY day)
$$;
COMMENT ON FUNCTION remember_day(integer[], timestamptz[], timestamptz[], date) IS
    'Notes the energy of a local day, and when each meter was heard last, in vee_meters';

CREATE OR REPLACE FUNCTION validate_day(p_meters integer[], p_day date, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_meters integer[];
    v_from timestamptz[];
    v_to timestamptz[];
    v_found integer;
BEGIN
    SELECT array_agg(d.meter_id ORDER BY d.meter_id), array_agg(d.lo ORDER BY d.meter_id), array_agg(d.hi ORDER BY d.meter_id)
    INTO v_meters, v_from, v_to
    FROM (SELECT z.meter_id, min(greatest(local_start(p_day, z.zone), z.lo)) AS lo,
                 max(least(local_start(p_day + INTERVAL '1 day', z.zone), z.hi)) AS hi
          FROM meter_zones(p_meters) AS z
          WHERE local_start(p_day, z.zone) < z.hi AND local_start(p_day + INTERVAL '1 day', z.zone) > z.lo
          GROUP BY z.meter_id) AS d
    WHERE d.hi <= p_now;
    IF v_meters IS NULL THEN
        RETURN 0;
    END IF;

    WITH found AS MATERIALIZED (
        SELECT * FROM day_findings(v_meters, v_from, v_to, p_day)
    ), cleared AS (
        UPDATE vee_findings AS f SET cleared_at = greatest(p_now, f.found_at)
        WHERE f.meter_id = ANY (v_meters) AND f.day = p_day AND f.cleared_at IS NULL
          AND NOT EXISTS (SELECT FROM found AS n WHERE (n.meter_id, n.rule, n.first_bucket) = (f.meter_id, f.rule, f.first_bucket))
    )
    INSERT INTO vee_findings AS f (rule, meter_id, day, first_bucket, last_bucket, measured, allowed, found_at)
    SELECT n.rule, n.meter_id, p_day, n.first_bucket, n.last_bucket, n.measured, n.allowed, p_now FROM found AS n
    ON CONFLICT (meter_id, day, rule, first_bucket) DO UPDATE
    SET last_bucket = excluded.last_bucket, measured = excluded.measured, allowed = excluded.allowed, cleared_at = NULL,
        found_at = CASE WHEN f.cleared_at IS NULL THEN f.found_at ELSE excluded.found_at END
    WHERE (f.last_bucket, f.measured, f.allowed) IS DISTINCT FROM (excluded.last_bucket, excluded.measured, excluded.allowed)
       OR f.cleared_at IS NOT NULL;
    GET DIAGNOSTICS v_found = ROW_COUNT;
    PERFORM remember_day(v_meters, v_from, v_to, p_day);
    RETURN v_found;
END
$$;
COMMENT ON FUNCTION validate_day(integer[], date, timestamptz) IS
    'Validates a local day of meters where it has ended by p_now: new and changed findings are stored, others cleared; returns how many are new or changed';

CREATE OR REPLACE FUNCTION validate_intervals(p_limit integer, p_now timestamptz, OUT marks integer, OUT estimates integer, OUT findings integer)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_lock CONSTANT integer := hashtext('segs.validate');
    v_group integer;
    v_meters integer[];
    v_from timestamptz[];
    v_to timestamptz[];
    v_day record;
BEGIN
    estimates := 0;
    findings := 0;
    WITH claimed AS (
        DELETE FROM dirty_intervals WHERE dirty_id IN (
            SELECT dirty_id FROM dirty_intervals WHERE not_before <= p_now ORDER BY dirty_id LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING meter_id, first_bucket, last_bucket
    ), merged AS (
        SELECT c.meter_id, count(*) AS marks, range_agg(tstzrange(c.first_bucket, c.last_bucket + INTERVAL '15 minutes')) AS spans
        FROM claimed AS c GROUP BY c.meter_id
    ), span AS (
        SELECT m.meter_id, unnest(m.spans) AS part FROM merged AS m
    )
    SELECT (SELECT COALESCE(sum(m.marks), 0) FROM merged AS m), array_agg(s.meter_id ORDER BY s.meter_id, s.part),
           array_agg(lower(s.part) ORDER BY s.meter_id, s.part), array_agg(upper(s.part) ORDER BY s.meter_id, s.part)
    INTO marks, v_meters, v_from, v_to
    FROM span AS s;
    IF marks = 0 THEN
        RETURN;
    END IF;

    FOR v_group IN SELECT DISTINCT abs(m % 64) AS meter_group FROM unnest(v_meters) AS m ORDER BY meter_group LOOP
        PERFORM pg_advisory_xact_lock(v_lock, v_group);
    END LOOP;

    estimates := estimate_gaps(v_meters, v_from, v_to, p_now);
    FOR v_day IN
        SELECT day.day::date AS day, array_agg(DISTINCT s.meter_id) AS meters
        FROM unnest(v_meters, v_from, v_to) AS s (meter_id, lo, hi)
        JOIN meter_zones(v_meters) AS z ON z.meter_id = s.meter_id AND z.lo < s.hi AND z.hi > s.lo
        CROSS JOIN LATERAL generate_series(date_trunc('day', greatest(s.lo, z.lo) AT TIME ZONE z.zone),
                                           (least(s.hi, z.hi) - INTERVAL '1 microsecond') AT TIME ZONE z.zone, INTERVAL '1 day') AS day (day)
        GROUP BY 1 ORDER BY 1
    LOOP
        findings := findings + validate_day(v_day.meters, v_day.day, p_now);
    END LOOP;
END
$$;
COMMENT ON FUNCTION validate_intervals(integer, timestamptz) IS
    'Takes up to p_limit marks from dirty_intervals, estimates the gaps around them and validates the local days that they touch and that have ended; returns the marks taken, estimates made or ended, findings new or changed';
GRANT EXECUTE ON FUNCTION day_findings(integer[], timestamptz[], timestamptz[], date) TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION remember_day(integer[], timestamptz[], timestamptz[], date) TO segs_worker;
GRANT EXECUTE ON FUNCTION validate_day(integer[], date, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION validate_intervals(integer, timestamptz) TO segs_worker;
