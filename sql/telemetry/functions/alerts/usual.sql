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

CREATE OR REPLACE FUNCTION usage_percent(p_meter_id integer, p_from timestamptz, p_to timestamptz, p_wh double precision, p_zone text) RETURNS double precision
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH past AS (
        SELECT h.wh
        FROM generate_series(1, 21) AS d (days)
        CROSS JOIN LATERAL (SELECT ((p_from AT TIME ZONE p_zone) - make_interval(days => d.days)) AT TIME ZONE p_zone AS at) AS s
        CROSS JOIN LATERAL (
            SELECT sum(a.energy_import_wh)::double precision AS wh, count(a.energy_import_wh) AS known, bool_or(a.quality IN (8, 9, 10)) AS doubtful FROM aggregates_15m AS a
            WHERE a.meter_id = p_meter_id AND a.bucket >= s.at AND a.bucket < s.at + (p_to - p_from)) AS h
        WHERE (weekday_class((s.at AT TIME ZONE p_zone)::date) > 5) = (weekday_class((p_from AT TIME ZONE p_zone)::date) > 5)
          AND h.known = EXTRACT(epoch FROM p_to - p_from) / 900 AND NOT h.doubtful
    ), middle AS (
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p.wh) AS wh, count(*) AS hours FROM past AS p
    ), spread AS (
        SELECT m.wh, m.hours, percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(p.wh - m.wh)) * 1.4826 AS off FROM middle AS m, past AS p GROUP BY m.wh, m.hours
    )
    -- What differs no more than it always does is as usual. 1.4826 makes a standard deviation of a median one.
    SELECT CASE WHEN s.hours < 4 OR s.wh <= 0 THEN NULL WHEN abs(p_wh - s.wh) <= greatest(5 * s.off, 200) THEN 0 ELSE 100 * (p_wh / s.wh - 1) END
    FROM spread AS s
$$;
COMMENT ON FUNCTION usage_percent(integer, timestamptz, timestamptz, double precision, text) IS
    'How much more was used from p_from to p_to than in the middle of the same hours of like days of the 21 days before, percent; 0 where it differs no more than they do, or by 200 Wh, NULL where fewer than four are known. What stays different becomes usual';
GRANT EXECUTE ON FUNCTION usual_minute_wh(integer, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION usage_percent(integer, timestamptz, timestamptz, double precision, text) TO segs_worker;
