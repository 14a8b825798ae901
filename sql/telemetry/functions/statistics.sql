-- What a span of a meter amounts to, and how two of them compare.

CREATE OR REPLACE FUNCTION meter_statistics(p_meter_id integer, p_from timestamptz, p_to timestamptz, p_now timestamptz)
RETURNS TABLE (
    start_time timestamptz, end_time timestamptz, energy_import_wh bigint, energy_export_wh bigint,
    reactive_energy_import_varh bigint, reactive_energy_export_varh bigint, energy_import_wh_per_day double precision,
    power_w_mean double precision, power_w_min real, power_w_max real, peak_demand_w bigint, peak_demand_at timestamptz,
    peak_demand_quality smallint, load_factor double precision, coverage real, quality smallint, version bigint, missing integer
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    v_part record;
    v_end timestamptz;
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    SELECT * INTO v_part FROM readable_part(p_meter_id, p_from, p_to, v_quarter);
    -- What is still to come is not missing.
    v_end := least(v_part.hi, date_bin(v_quarter, p_now - INTERVAL '1 microsecond', '2000-01-01 00:00+00') + v_quarter);
    IF v_part.lo >= v_end THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT v_part.lo, v_end, sum(e.energy_import_wh)::bigint, sum(e.energy_export_wh)::bigint,
           sum(e.reactive_energy_import_varh)::bigint, sum(e.reactive_energy_export_varh)::bigint,
           (avg(e.energy_import_wh) * 96)::double precision,
           sum(e.power_w_sum) / nullif(sum(e.power_w_count), 0), min(e.power_w_min), max(e.power_w_max),
           max(4 * e.energy_import_wh),
           (array_agg(e.bucket ORDER BY e.energy_import_wh DESC, e.bucket) FILTER (WHERE e.energy_import_wh IS NOT NULL))[1],
           (array_agg(e.quality ORDER BY e.energy_import_wh DESC, e.bucket) FILTER (WHERE e.energy_import_wh IS NOT NULL))[1],
           (avg(e.energy_import_wh) / nullif(max(e.energy_import_wh), 0))::double precision,
           (COALESCE(sum(e.coverage::double precision), 0) * 900 / date_part('epoch', v_end - v_part.lo))::real,
           quality_of_rank(max(quality_rank(e.quality))), COALESCE(sum(e.version), 0)::bigint,
           (date_part('epoch', v_end - v_part.lo) / 900)::integer - count(e.bucket)::integer
    FROM effective_quarters(ARRAY[p_meter_id], ARRAY[v_part.lo], ARRAY[v_end]) AS e;
END
$$;
COMMENT ON FUNCTION meter_statistics(integer, timestamptz, timestamptz, timestamptz) IS
    'The quarter-hours of a meter that p_from to p_to touches, that are the caller''s to read and have begun by p_now, as one: energy in Wh and varh, and a mean day of import by the quarter-hours that are known; power in W by samples; the highest quarter-hour of import, W by its register, and the first one that had it; load factor (mean by highest quarter-hour, 0 to 1); coverage in percent, worst quality, sum of versions, quarter-hours of which nothing is known. No row where nothing is left. Raises SG060, SG062';

CREATE OR REPLACE FUNCTION change_percent(p_before double precision, p_after double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 100 * (p_after - p_before) / nullif(p_before, 0);
COMMENT ON FUNCTION change_percent(double precision, double precision) IS 'By how much p_after is more than p_before, percent of it; NULL where that is 0';

CREATE OR REPLACE FUNCTION compare_periods(
    p_meter_id integer, p_before_from timestamptz, p_before_to timestamptz, p_after_from timestamptz, p_after_to timestamptz,
    p_now timestamptz
) RETURNS TABLE (
    before_start_time timestamptz, before_end_time timestamptz, before_energy_import_wh bigint, before_energy_export_wh bigint,
    before_energy_import_wh_per_day double precision, before_peak_demand_w bigint, before_load_factor double precision,
    before_coverage real, before_quality smallint, before_missing integer,
    after_start_time timestamptz, after_end_time timestamptz, after_energy_import_wh bigint, after_energy_export_wh bigint,
    after_energy_import_wh_per_day double precision, after_peak_demand_w bigint, after_load_factor double precision,
    after_coverage real, after_quality smallint, after_missing integer,
    energy_import_change_wh bigint, energy_import_change_percent double precision, energy_export_change_wh bigint,
    energy_export_change_percent double precision, energy_import_per_day_change_percent double precision,
    peak_demand_change_w bigint, peak_demand_change_percent double precision
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT b.start_time, b.end_time, b.energy_import_wh, b.energy_export_wh, b.energy_import_wh_per_day, b.peak_demand_w,
           b.load_factor, b.coverage, b.quality, b.missing,
           a.start_time, a.end_time, a.energy_import_wh, a.energy_export_wh, a.energy_import_wh_per_day, a.peak_demand_w,
           a.load_factor, a.coverage, a.quality, a.missing,
           a.energy_import_wh - b.energy_import_wh, change_percent(b.energy_import_wh, a.energy_import_wh),
           a.energy_export_wh - b.energy_export_wh, change_percent(b.energy_export_wh, a.energy_export_wh),
           change_percent(b.energy_import_wh_per_day, a.energy_import_wh_per_day),
           a.peak_demand_w - b.peak_demand_w, change_percent(b.peak_demand_w, a.peak_demand_w)
    FROM meter_statistics(p_meter_id, p_before_from, p_before_to, p_now) AS b
    FULL JOIN meter_statistics(p_meter_id, p_after_from, p_after_to, p_now) AS a ON true
$$;
COMMENT ON FUNCTION compare_periods(integer, timestamptz, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'meter_statistics() of two spans side by side, and what changed from the one to the other. Spans of unequal length compare by energy_import_per_day_change_percent. Raises SG060, SG062';
GRANT EXECUTE ON FUNCTION meter_statistics(integer, timestamptz, timestamptz, timestamptz) TO segs_api;
GRANT EXECUTE ON FUNCTION compare_periods(integer, timestamptz, timestamptz, timestamptz, timestamptz, timestamptz) TO segs_api;
