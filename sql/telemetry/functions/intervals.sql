-- Intervals of meters at any resolution. Minutes are as they were computed; all else is made of quarter-hours as they hold,
-- by the additive rule: energy, counts and sums add, minima and maxima compare, the worst quality stays.

CREATE OR REPLACE FUNCTION period_quarters(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_unit text, p_zone text
) RETURNS TABLE (
    meter_id integer, start_time timestamptz, end_time timestamptz, bucket timestamptz, energy_import_wh bigint,
    energy_export_wh bigint, reactive_energy_import_varh bigint, reactive_energy_export_varh bigint, power_w_count integer,
    power_w_min real, power_w_max real, power_w_sum double precision, coverage real, quality smallint, version bigint
)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_step CONSTANT interval := '1 ' || p_unit;
    -- Who names a meter twice wants its energy once.
    v_meters CONSTANT integer[] := ARRAY(SELECT DISTINCT m FROM unnest(p_meters) AS m);
BEGIN
    IF date_bin('15 minutes', p_from, '2000-01-01 00:00+00') <> p_from OR date_bin('15 minutes', p_to, '2000-01-01 00:00+00') <> p_to THEN
        RAISE EXCEPTION 'from % to % are no whole quarter-hours', p_from, p_to
            USING ERRCODE = 'SG041', HINT = 'Give times at minute 0, 15, 30 or 45.';
    END IF;
    RETURN QUERY
    WITH zones AS MATERIALIZED (
        SELECT m AS meter_id, p_zone AS zone, '-infinity'::timestamptz AS lo, 'infinity'::timestamptz AS hi
        FROM unnest(v_meters) AS m WHERE p_zone IS NOT NULL
        UNION ALL
        SELECT z.* FROM meter_zones(v_meters) AS z WHERE p_zone IS NULL
    ), quarter AS (
        SELECT e.*, z.zone, greatest(z.lo, p_from) AS lo, least(z.hi, p_to) AS hi,
               date_trunc(p_unit, e.bucket AT TIME ZONE z.zone) AS period
        FROM effective_quarters(v_meters, array_fill(p_from, ARRAY[cardinality(v_meters)]),
                                array_fill(p_to, ARRAY[cardinality(v_meters)])) AS e
        JOIN zones AS z ON z.meter_id = e.meter_id AND e.bucket >= z.lo AND e.bucket < z.hi
    )
    SELECT q.meter_id, greatest(local_start(q.period, q.zone), q.lo), least(local_start(q.period + v_step, q.zone), q.hi),
           q.bucket, q.energy_import_wh, q.energy_export_wh, q.reactive_energy_import_varh, q.reactive_energy_export_varh,
           q.power_w_count, q.power_w_min, q.power_w_max, q.power_w_sum, q.coverage, q.quality, q.version
    FROM quarter AS q;
END
$$;
COMMENT ON FUNCTION period_quarters(integer[], timestamptz, timestamptz, text, text) IS
    'Quarter-hours as they hold, with the hour, day or month of p_zone (NULL for the meter''s own) that they belong to, cut to p_from and p_to and where the meter moved to another zone; raises SG041 for times that are no quarter-hour';

CREATE OR REPLACE FUNCTION intervals(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_resolution text, p_zone text DEFAULT NULL
) RETURNS TABLE (
    meter_id integer, start_time timestamptz, end_time timestamptz, energy_import_wh bigint, energy_export_wh bigint,
    reactive_energy_import_varh bigint, reactive_energy_export_varh bigint, power_w_mean double precision, power_w_min real,
    power_w_max real, coverage real, quality smallint, version bigint, missing integer
)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_unit text;
    v_meters CONSTANT integer[] := ARRAY(SELECT DISTINCT m FROM unnest(p_meters) AS m);
BEGIN
    IF p_resolution = '1m' THEN
        RETURN QUERY
        SELECT a.meter_id, a.bucket, a.bucket + INTERVAL '1 minute', a.energy_import_wh, a.energy_export_wh,
               a.reactive_energy_import_varh, a.reactive_energy_export_varh, a.power_w_sum / nullif(a.power_w_count, 0),
               a.power_w_min, a.power_w_max, a.coverage, a.quality, NULL::bigint, 0
        FROM unnest(v_meters) AS m (meter_id)
        CROSS JOIN LATERAL (SELECT * FROM aggregates_1m AS b
                            WHERE b.meter_id = m.meter_id AND b.bucket >= p_from AND b.bucket < p_to) AS a
        ORDER BY a.meter_id, a.bucket;
    ELSIF p_resolution = '15m' THEN
        RETURN QUERY
        SELECT e.meter_id, e.bucket, e.bucket + INTERVAL '15 minutes', e.energy_import_wh, e.energy_export_wh,
               e.reactive_energy_import_varh, e.reactive_energy_export_varh, e.power_w_sum / nullif(e.power_w_count, 0),
               e.power_w_min, e.power_w_max, e.coverage, e.quality, e.version, 0
        FROM effective_quarters(v_meters, array_fill(p_from, ARRAY[cardinality(v_meters)]),
                                array_fill(p_to, ARRAY[cardinality(v_meters)])) AS e
        ORDER BY e.meter_id, e.bucket;
    ELSE
        v_unit := CASE p_resolution WHEN '1h' THEN 'hour' WHEN '1d' THEN 'day' WHEN '1mo' THEN 'month' END;
        IF v_unit IS NULL THEN
            RAISE EXCEPTION 'there is no resolution %', p_resolution
                USING ERRCODE = 'SG040', HINT = 'Give 1m, 15m, 1h, 1d or 1mo.';
        END IF;
        RETURN QUERY
        SELECT p.meter_id, p.start_time, p.end_time, sum(p.energy_import_wh)::bigint, sum(p.energy_export_wh)::bigint,
               sum(p.reactive_energy_import_varh)::bigint, sum(p.reactive_energy_export_varh)::bigint,
               sum(p.power_w_sum) / nullif(sum(p.power_w_count), 0), min(p.power_w_min), max(p.power_w_max),
               (sum(p.coverage::double precision) * 900 / date_part('epoch', p.end_time - p.start_time))::real,
               quality_of_rank(max(quality_rank(p.quality))), sum(p.version)::bigint,
               (date_part('epoch', p.end_time - p.start_time) / 900)::integer - count(*)::integer
        FROM period_quarters(p_meters, p_from, p_to, v_unit, CASE v_unit WHEN 'hour' THEN 'UTC' ELSE p_zone END) AS p
        GROUP BY p.meter_id, p.start_time, p.end_time
        ORDER BY p.meter_id, p.start_time;
    END IF;
END
$$;
COMMENT ON FUNCTION intervals(integer[], timestamptz, timestamptz, text, text) IS
    'Intervals that have anything in them, half-open, cut to p_from and p_to: 1m, 15m, 1h (UTC), 1d and 1mo (local to p_zone, NULL for the meter''s own). Energy in Wh and varh, power in W, coverage in percent of all the interval; version is the sum of the quarter-hours'' (NULL for minutes), missing the quarter-hours of which nothing is known; raises SG040, SG041';

CREATE OR REPLACE FUNCTION peak_demand(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_resolution text DEFAULT '1mo', p_zone text DEFAULT NULL
) RETURNS TABLE (
    meter_id integer, start_time timestamptz, end_time timestamptz, demand_w bigint, demand_at timestamptz,
    demand_quality smallint, demand_va double precision, demand_va_at timestamptz
)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF p_resolution NOT IN ('1d', '1mo') THEN
        RAISE EXCEPTION 'there is no peak demand of %', p_resolution USING ERRCODE = 'SG040', HINT = 'Give 1d or 1mo.';
    END IF;
    RETURN QUERY
    SELECT q.meter_id, q.start_time, q.end_time, max(4 * q.energy_import_wh),
           (array_agg(q.bucket ORDER BY q.energy_import_wh DESC, q.bucket))[1],
           (array_agg(q.quality ORDER BY q.energy_import_wh DESC, q.bucket))[1],
           max(q.va), (array_agg(q.bucket ORDER BY q.va DESC NULLS LAST, q.bucket) FILTER (WHERE q.va IS NOT NULL))[1]
    FROM (SELECT p.*, 4 * sqrt(p.energy_import_wh::double precision ^ 2
                               + (p.reactive_energy_import_varh - COALESCE(p.reactive_energy_export_varh, 0))::double precision ^ 2) AS va
          FROM period_quarters(p_meters, p_from, p_to, CASE p_resolution WHEN '1d' THEN 'day' ELSE 'month' END, p_zone) AS p
          WHERE p.energy_import_wh IS NOT NULL) AS q
    GROUP BY q.meter_id, q.start_time, q.end_time
    ORDER BY q.meter_id, q.start_time;
END
$$;
COMMENT ON FUNCTION peak_demand(integer[], timestamptz, timestamptz, text, text) IS
    'Highest mean power of a quarter-hour by its register, W (4 x Wh) and, where reactive energy is metered, VA, with the start of the first one that had it, for each local day or month';
GRANT EXECUTE ON FUNCTION period_quarters(integer[], timestamptz, timestamptz, text, text) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION intervals(integer[], timestamptz, timestamptz, text, text) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION peak_demand(integer[], timestamptz, timestamptz, text, text) TO segs_worker, segs_readonly;
