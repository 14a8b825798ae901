-- Days and months of a meter as people count them: local to where it is.

CREATE OR REPLACE FUNCTION local_bounds(
    p_meter_id integer, p_first date, p_end date, p_zone text, OUT start_time timestamptz, OUT end_time timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_granted(p_meter_id);
    IF p_zone IS NOT NULL THEN
        start_time := local_start(p_first, p_zone);
        end_time := local_start(p_end, p_zone);
    ELSE
        SELECT min(greatest(local_start(p_first, z.zone), z.lo)), max(least(local_start(p_end, z.zone), z.hi))
        INTO start_time, end_time
        FROM meter_zones(ARRAY[p_meter_id]) AS z
        WHERE local_start(p_first, z.zone) < z.hi AND local_start(p_end, z.zone) > z.lo;
        IF start_time IS NULL AND p_first < p_end THEN
            RETURN;
        END IF;
    END IF;
    PERFORM require_span(start_time, end_time);
END
$$;
COMMENT ON FUNCTION local_bounds(integer, date, date, text) IS
    'From when to when the days from p_first to before p_end are in p_zone, NULL for the meter''s own; NULL where it has none in these days, as no device was it. Raises SG060, SG062, and 22023 for a zone that there is not';

CREATE OR REPLACE FUNCTION meter_energy(p_meter_id integer, p_from timestamptz, p_to timestamptz, p_resolution text, p_zone text DEFAULT NULL)
RETURNS TABLE (
    day date, start_time timestamptz, end_time timestamptz, energy_import_wh bigint, energy_export_wh bigint,
    reactive_energy_import_varh bigint, reactive_energy_export_varh bigint, peak_demand_w bigint, peak_demand_at timestamptz,
    peak_demand_quality smallint, coverage real, quality smallint, version bigint, quarters integer, missing integer
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_part record;
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    SELECT * INTO v_part FROM readable_part(p_meter_id, p_from, p_to, INTERVAL '15 minutes');
    RETURN QUERY
    SELECT date_trunc(CASE p_resolution WHEN '1mo' THEN 'month' ELSE 'day' END, i.start_time AT TIME ZONE z.zone)::date,
           i.start_time, i.end_time, i.energy_import_wh, i.energy_export_wh, i.reactive_energy_import_varh,
           i.reactive_energy_export_varh, d.demand_w, d.demand_at, d.demand_quality, i.coverage, i.quality, i.version,
           (date_part('epoch', i.end_time - i.start_time) / 900)::integer, i.missing
    FROM intervals(ARRAY[p_meter_id], v_part.lo, v_part.hi, p_resolution, p_zone) AS i
    LEFT JOIN peak_demand(ARRAY[p_meter_id], v_part.lo, v_part.hi, p_resolution, p_zone) AS d ON d.start_time = i.start_time
    CROSS JOIN LATERAL (SELECT COALESCE(p_zone, (SELECT m.zone FROM meter_zones(ARRAY[p_meter_id]) AS m
                                                 WHERE i.start_time >= m.lo AND i.start_time < m.hi)) AS zone) AS z
    ORDER BY i.start_time;
END
$$;
COMMENT ON FUNCTION meter_energy(integer, timestamptz, timestamptz, text, text) IS
    'Local days (1d) or months (1mo) of a meter with anything in them, by intervals() and peak_demand(), of the quarter-hours that p_from to p_to touches and that are the caller''s to read. day is the local date, of a month its first; quarters is how many the part has, 92, 96 or 100 of a whole day, missing of how many nothing is known. Raises SG040, SG060, SG062';
GRANT EXECUTE ON FUNCTION local_bounds(integer, date, date, text) TO segs_api;
GRANT EXECUTE ON FUNCTION meter_energy(integer, timestamptz, timestamptz, text, text) TO segs_api;
