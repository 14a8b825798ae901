-- Days whose marks are taken are looked at as a whole: what is found anew is kept, what is not found any more is cleared.

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
GRANT EXECUTE ON FUNCTION remember_day(integer[], timestamptz[], timestamptz[], date) TO segs_worker;
GRANT EXECUTE ON FUNCTION validate_day(integer[], date, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION validate_intervals(integer, timestamptz) TO segs_worker;
