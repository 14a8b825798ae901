-- Local days and months. Where a clock is put back at midnight, midnight comes twice, and PostgreSQL takes the second one.

CREATE OR REPLACE FUNCTION local_start(p_local timestamp, p_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (p_local AT TIME ZONE p_zone)
       - CASE WHEN ((p_local AT TIME ZONE p_zone) - INTERVAL '1 hour') AT TIME ZONE p_zone >= p_local
              THEN INTERVAL '1 hour' ELSE INTERVAL '0' END;
COMMENT ON FUNCTION local_start(timestamp, text) IS 'The first instant at which clocks of the zone show p_local, or a later time';

CREATE OR REPLACE FUNCTION weekday_class(p_day date) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(5, pg_catalog.date_part('isodow', p_day))::integer;
COMMENT ON FUNCTION weekday_class(date) IS 'Days that are like one another: 5 for Monday to Friday, 6 for Saturdays, 7 for Sundays';

CREATE OR REPLACE FUNCTION meter_zones(p_meters integer[])
RETURNS TABLE (meter_id integer, zone text, lo timestamptz, hi timestamptz)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH located AS (
        SELECT d.meter_id, d.timezone, lower(d.valid) AS since,
               lag(d.timezone) OVER (PARTITION BY d.meter_id ORDER BY d.valid) AS before
        FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), moved AS (
        -- A quarter-hour belongs where the meter was when it began.
        SELECT l.meter_id, l.timezone,
               CASE WHEN l.before IS NULL THEN '-infinity'
                    ELSE date_bin('15 minutes', l.since + INTERVAL '899.999999 s', '2000-01-01 00:00+00') END AS since
        FROM located AS l WHERE l.timezone IS DISTINCT FROM l.before
    )
    SELECT m.meter_id, m.timezone, m.since, COALESCE(lead(m.since) OVER (PARTITION BY m.meter_id ORDER BY m.since), 'infinity')
    FROM moved AS m
$$;
COMMENT ON FUNCTION meter_zones(integer[]) IS
    'Which zone a meter''s days are local to, from when to when: all of time, whole quarter-hours; while a meter was nobody''s, the zone before goes on';
GRANT EXECUTE ON FUNCTION local_start(timestamp, text) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION weekday_class(date) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION meter_zones(integer[]) TO segs_worker, segs_readonly;
