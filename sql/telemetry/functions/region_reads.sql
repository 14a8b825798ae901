-- What a region takes, and who takes the most in it.

CREATE OR REPLACE FUNCTION region_statistics(p_regions text[], p_now timestamptz)
RETURNS TABLE (
    region text, period text, start_time timestamptz, end_time timestamptz, quarters integer, meters_active integer, meters_expected integer,
    energy_import_wh bigint, energy_export_wh bigint, power_w_mean double precision, capacity_w double precision,
    load_percent double precision, load_percent_max double precision, load_percent_max_at timestamptz, coverage real, quality smallint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    v_end CONSTANT timestamptz := date_bin(v_quarter, p_now, '2000-01-01 00:00+00');
BEGIN
    PERFORM require_among('regions', to_jsonb(p_regions));
    RETURN QUERY
    WITH quarter AS MATERIALIZED (
        SELECT o.*, max(o.bucket) OVER (PARTITION BY o.region) AS newest
        FROM (SELECT DISTINCT n FROM unnest(p_regions) AS n) AS r (region)
        CROSS JOIN LATERAL (SELECT i.* FROM regional_15m AS i
                            WHERE i.region = r.region AND i.bucket >= v_end - INTERVAL '1 day' AND i.bucket < v_end OFFSET 0) AS o
    ), period (name, nth, since, until) AS (
        SELECT 'latest', 1, NULL::timestamptz, NULL::timestamptz
        UNION ALL VALUES ('hour', 2, v_end - INTERVAL '1 hour', v_end), ('day', 3, v_end - INTERVAL '1 day', v_end)
    )
    SELECT q.region, p.name, COALESCE(p.since, max(q.newest)), COALESCE(p.until, max(q.newest) + v_quarter), count(*)::integer,
           (array_agg(q.meters ORDER BY q.bucket DESC))[1], (array_agg(q.meters_expected ORDER BY q.bucket DESC))[1],
           sum(q.energy_import_wh)::bigint, sum(q.energy_export_wh)::bigint, avg(q.power_w_mean),
           (array_agg(q.capacity_w ORDER BY q.bucket DESC))[1], avg(q.load_percent), max(q.load_percent),
           (array_agg(q.bucket ORDER BY q.load_percent DESC, q.bucket) FILTER (WHERE q.load_percent IS NOT NULL))[1],
           (sum(q.coverage::double precision) * 900 / date_part('epoch', COALESCE(p.until - p.since, v_quarter)))::real,
           quality_of_rank(max(quality_rank(q.quality)))
    FROM period AS p JOIN quarter AS q ON q.bucket >= COALESCE(p.since, q.newest)
    GROUP BY q.region, p.name, p.nth, p.since, p.until
    ORDER BY q.region, p.nth;
END
$$;
COMMENT ON FUNCTION region_statistics(text[], timestamptz) IS
    'Regions in the quarter-hours that have ended by p_now: the latest one of the last day that is known, the last hour and the last day. Energy in Wh; power in W and load in percent of the capacity, means of the quarter-hours that are known, and the highest load with the first quarter-hour that had it; meters and capacity are those of the newest quarter-hour. No row for a period of which nothing is known. Raises SG060';

CREATE OR REPLACE FUNCTION region_history(p_region text, p_from timestamptz, p_to timestamptz, p_limit integer DEFAULT 10000)
RETURNS TABLE (
    start_time timestamptz, end_time timestamptz, meters_active integer, meters_expected integer, energy_import_wh bigint,
    energy_export_wh bigint, power_w_mean double precision, capacity_w double precision, load_percent double precision, coverage real,
    quality smallint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_among('regions', jsonb_build_array(p_region));
    PERFORM require_span(p_from, p_to);
    RETURN QUERY
    SELECT o.bucket, o.bucket + INTERVAL '15 minutes', o.meters, o.meters_expected, o.energy_import_wh, o.energy_export_wh,
           o.power_w_mean, o.capacity_w, o.load_percent, o.coverage, o.quality
    FROM regional_15m AS o
    WHERE o.region = p_region AND o.bucket >= p_from AND o.bucket < p_to
    ORDER BY o.bucket LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION region_history(text, timestamptz, timestamptz, integer) IS
    'Quarter-hours of a region that begin from p_from to p_to, at most p_limit, in order of time: energy in Wh, power in W, load in percent of the capacity. Raises SG060, SG062';

CREATE OR REPLACE FUNCTION top_consumers(p_region text, p_from timestamptz, p_to timestamptz, p_limit integer DEFAULT 10)
RETURNS TABLE (
    nth integer, meter_id integer, meter_code text, energy_import_wh bigint, share_percent double precision, coverage real,
    quality smallint, missing integer, start_time timestamptz, end_time timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    v_zero CONSTANT timestamptz := '2000-01-01 00:00+00';
    v_from CONSTANT timestamptz := date_bin(v_quarter, p_from, v_zero);
    v_to CONSTANT timestamptz := date_bin(v_quarter, p_to - INTERVAL '1 microsecond', v_zero) + v_quarter;
    v_meters integer[];
    v_lo timestamptz[];
    v_hi timestamptz[];
BEGIN
    PERFORM require_among('regions', jsonb_build_array(p_region));
    PERFORM require_span(p_from, p_to);
    IF p_to - p_from > INTERVAL '31 days' THEN
        RAISE EXCEPTION 'from % to % is too long to add up all meters of a region', p_from, p_to
            USING ERRCODE = 'SG063', HINT = 'Give 31 days at most.';
    END IF;
    -- A quarter-hour counts where the meter was when it began.
    SELECT array_agg(m.meter_id), array_agg(m.lo), array_agg(m.hi) INTO v_meters, v_lo, v_hi
    FROM (SELECT d.meter_id, greatest(v_from, date_bin(v_quarter, lower(d.valid) + INTERVAL '899.999999 s', v_zero)) AS lo,
                 least(v_to, date_bin(v_quarter, upper(d.valid) + INTERVAL '899.999999 s', v_zero)) AS hi
          FROM device_registry AS d
          WHERE d.region = p_region AND d.valid && tstzrange(v_from, v_to)) AS m
    WHERE m.lo < m.hi;
    RETURN QUERY
    SELECT row_number() OVER (ORDER BY s.wh DESC NULLS LAST, s.meter_id)::integer, s.meter_id,
           (SELECT d.meter_code FROM device_registry AS d WHERE d.meter_id = s.meter_id ORDER BY d.valid DESC LIMIT 1),
           s.wh, (100 * s.wh / nullif(sum(s.wh) OVER (), 0))::double precision, s.coverage, s.quality, s.missing, v_from, v_to
    FROM (
        SELECT e.meter_id, sum(e.energy_import_wh)::bigint AS wh,
               (sum(e.coverage::double precision) / max(member.quarters))::real AS coverage,
               quality_of_rank(max(quality_rank(e.quality))) AS quality, (max(member.quarters) - count(*))::integer AS missing
        FROM effective_quarters(v_meters, v_lo, v_hi) AS e
        JOIN (SELECT u.meter_id, sum(date_part('epoch', u.hi - u.lo) / 900) AS quarters
              FROM unnest(v_meters, v_lo, v_hi) AS u (meter_id, lo, hi) GROUP BY u.meter_id) AS member ON member.meter_id = e.meter_id
        GROUP BY e.meter_id
    ) AS s
    WHERE s.wh IS NOT NULL
    ORDER BY 1 LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION top_consumers(text, timestamptz, timestamptz, integer) IS
    'The p_limit meters of a region that took the most in the quarter-hours that p_from to p_to touches, each while it belonged to the region: energy in Wh, and its share of what all of them took, percent. Raises SG060, SG062, SG063 for more than 31 days';
GRANT EXECUTE ON FUNCTION region_statistics(text[], timestamptz) TO segs_api;
GRANT EXECUTE ON FUNCTION region_history(text, timestamptz, timestamptz, integer) TO segs_api;
GRANT EXECUTE ON FUNCTION top_consumers(text, timestamptz, timestamptz, integer) TO segs_api;
