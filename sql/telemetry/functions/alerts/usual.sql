-- What is usual for a meter, by what it told before.

CREATE OR REPLACE FUNCTION usual_minute_wh(p_meter_id integer, p_before timestamptz) RETURNS double precision
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT COALESCE(percentile_cont(0.5) WITHIN GROUP (ORDER BY a.energy_import_wh + COALESCE(a.energy_export_wh, 0)), 0)
    FROM aggregates_1m AS a
    WHERE a.meter_id = p_meter_id AND a.bucket >= p_before - INTERVAL '1 day' AND a.bucket < p_before AND a.energy_import_wh + COALESCE(a.energy_export_wh, 0) > 0
$$;
COMMENT ON FUNCTION usual_minute_wh(integer, timestamptz) IS 'By how much the registers of a meter usually move in a minute in which they move, of the day before, Wh: at least the step of a coarse one';

CREATE OR REPLACE FUNCTION usual_windows(p_meters integer[], p_from timestamptz, p_to timestamptz, p_minutes integer)
RETURNS TABLE (meter_id integer, began timestamptz, days bigint, least_wh double precision, most_wh double precision)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
-- By zone alone, which all have in common, a merge goes through all windows for each quarter-hour.
SET enable_mergejoin = off
AS $$
    WITH zone AS MATERIALIZED (
        SELECT DISTINCT ON (d.meter_id) d.meter_id, d.timezone FROM device_registry AS d WHERE d.meter_id = ANY (p_meters) ORDER BY d.meter_id, lower(d.valid) DESC
    ), alike AS MATERIALIZED (
        -- The same windows of like days and those beside them, which meters of one zone have in common.
        SELECT z.timezone, h.began, s.at + b * make_interval(mins => p_minutes) AS at, b = 0 AS same
        FROM (SELECT DISTINCT o.timezone FROM zone AS o) AS z
        CROSS JOIN generate_series(p_from, p_to - make_interval(mins => p_minutes), make_interval(mins => p_minutes)) AS h (began)
        CROSS JOIN generate_series(1, 21) AS d (days)
        CROSS JOIN LATERAL (SELECT ((h.began AT TIME ZONE z.timezone) - make_interval(days => d.days)) AT TIME ZONE z.timezone AS at) AS s
        CROSS JOIN generate_series(-1, 1) AS b
        WHERE (weekday_class((s.at AT TIME ZONE z.timezone)::date) > 5) = (weekday_class((h.began AT TIME ZONE z.timezone)::date) > 5)
    ), slot AS MATERIALIZED (
        SELECT DISTINCT a.timezone, a.at, a.at + q * INTERVAL '15 minutes' AS bucket FROM alike AS a CROSS JOIN generate_series(0, p_minutes / 15 - 1) AS q
    ), span AS (
        -- A window has one a day, a month has one.
        SELECT unnest(range_agg(tstzrange(s.at, s.at + make_interval(mins => p_minutes)))) AS span FROM slot AS s
    ), past AS MATERIALIZED (
        SELECT q.meter_id, s.timezone, s.at, sum(q.energy_import_wh)::double precision AS wh
        FROM span
        CROSS JOIN LATERAL (
            SELECT a.meter_id, a.bucket, a.energy_import_wh, a.quality FROM aggregates_15m AS a
            WHERE a.meter_id = ANY (p_meters) AND a.bucket >= lower(span.span) AND a.bucket < upper(span.span)) AS q
        JOIN zone AS z ON z.meter_id = q.meter_id
        JOIN slot AS s ON (s.timezone, s.bucket) = (z.timezone, q.bucket)
        GROUP BY q.meter_id, s.timezone, s.at
        HAVING count(q.energy_import_wh) = p_minutes / 15 AND NOT bool_or(q.quality IN (8, 9, 10))
    )
    SELECT p.meter_id, a.began, count(*) FILTER (WHERE a.same), min(p.wh), max(p.wh)
    FROM past AS p JOIN alike AS a ON (a.timezone, a.at) = (p.timezone, p.at)
    GROUP BY p.meter_id, a.began HAVING count(*) FILTER (WHERE a.same) >= 4
$$;
COMMENT ON FUNCTION usual_windows(integer[], timestamptz, timestamptz, integer) IS
    'The least and the most that meters used, for each window of p_minutes from p_from to p_to, in the same local times of like days of the 21 days before and in the windows beside them, Wh. days is how many of the same times are known, four at least. What stays different becomes usual';
GRANT EXECUTE ON FUNCTION usual_minute_wh(integer, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION usual_windows(integer[], timestamptz, timestamptz, integer) TO segs_worker;
