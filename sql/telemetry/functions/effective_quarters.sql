-- What holds of a quarter-hour: an edit before what its registers tell, that before an estimate. Between two reads that
-- lie apart the registers tell a straight line and no more (no samples): there an estimate comes first.

CREATE OR REPLACE FUNCTION effective_quarters(p_meters integer[], p_from timestamptz[], p_to timestamptz[])
RETURNS TABLE (meter_id integer, bucket timestamptz, energy_import_wh bigint, energy_export_wh bigint,
               reactive_energy_import_varh bigint, reactive_energy_export_varh bigint, power_w_count integer, power_w_min real,
               power_w_max real, power_w_sum double precision, coverage real, quality smallint, version bigint, source text)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t);
BEGIN
    RETURN QUERY
    SELECT s.meter_id, q.bucket,
           COALESCE(q.edit_import, CASE WHEN q.estimated THEN q.estimate_import END, q.energy_import_wh),
           COALESCE(q.edit_export, CASE WHEN q.estimated THEN q.estimate_export END, q.energy_export_wh),
           COALESCE(q.edit_reactive_import, CASE WHEN q.estimated THEN q.estimate_reactive_import END,
                    q.reactive_energy_import_varh),
           COALESCE(q.edit_reactive_export, CASE WHEN q.estimated THEN q.estimate_reactive_export END,
                    q.reactive_energy_export_varh),
           COALESCE(q.power_w_count, 0), q.power_w_min, q.power_w_max, q.power_w_sum, COALESCE(q.coverage, 0),
           -- Who gives reactive energy alone has not said that energy which failed, or is an estimate, is right.
           CASE WHEN q.edited_energy THEN 7::smallint WHEN q.estimated THEN q.estimate_quality ELSE COALESCE(q.quality, 7::smallint) END,
           COALESCE(q.version, 0) + COALESCE(q.changes, 0),
           CASE WHEN q.edited THEN 'edit' WHEN q.estimated THEN 'estimate' WHEN q.samples > 0 THEN 'actual' ELSE 'interpolated' END
    FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
    CROSS JOIN LATERAL (
        SELECT *, over_it.estimate_quality IS NOT NULL AND COALESCE(base.samples, 0) = 0 AS estimated
        FROM (
            SELECT a.bucket, a.samples, a.energy_import_wh, a.energy_export_wh, a.reactive_energy_import_varh,
                   a.reactive_energy_export_varh, a.power_w_count, a.power_w_min, a.power_w_max, a.power_w_sum, a.coverage,
                   a.quality, a.version
            FROM aggregates_15m AS a
            WHERE a.meter_id = s.meter_id AND a.bucket >= s.lo AND a.bucket < s.hi AND a.bucket >= v_first AND a.bucket < v_last
        ) AS base
        FULL JOIN (
            SELECT v.bucket, count(*) + count(v.ended_at) AS changes, count(*) > count(v.ended_at) AS live,
                   bool_or(v.method = 'edit' AND v.ended_at IS NULL) AS edited,
                   bool_or(v.method = 'edit' AND v.ended_at IS NULL AND num_nonnulls(v.energy_import_wh, v.energy_export_wh) > 0) AS edited_energy,
                   max(v.energy_import_wh) FILTER (WHERE v.method = 'edit' AND v.ended_at IS NULL) AS edit_import,
                   max(v.energy_export_wh) FILTER (WHERE v.method = 'edit' AND v.ended_at IS NULL) AS edit_export,
                   max(v.reactive_energy_import_varh) FILTER (WHERE v.method = 'edit' AND v.ended_at IS NULL) AS edit_reactive_import,
                   max(v.reactive_energy_export_varh) FILTER (WHERE v.method = 'edit' AND v.ended_at IS NULL) AS edit_reactive_export,
                   max(v.quality) FILTER (WHERE v.method <> 'edit' AND v.ended_at IS NULL) AS estimate_quality,
                   max(v.energy_import_wh) FILTER (WHERE v.method <> 'edit' AND v.ended_at IS NULL) AS estimate_import,
                   max(v.energy_export_wh) FILTER (WHERE v.method <> 'edit' AND v.ended_at IS NULL) AS estimate_export,
                   max(v.reactive_energy_import_varh) FILTER (WHERE v.method <> 'edit' AND v.ended_at IS NULL) AS estimate_reactive_import,
                   max(v.reactive_energy_export_varh) FILTER (WHERE v.method <> 'edit' AND v.ended_at IS NULL) AS estimate_reactive_export
            FROM interval_versions AS v
            WHERE v.meter_id = s.meter_id AND v.bucket >= s.lo AND v.bucket < s.hi
            GROUP BY v.bucket
        ) AS over_it USING (bucket)
        WHERE base.samples IS NOT NULL OR over_it.live
    ) AS q;
END
$$;
COMMENT ON FUNCTION effective_quarters(integer[], timestamptz[], timestamptz[]) IS
    'Quarter-hours as they hold, of the given spans (whole quarter-hours, disjoint per meter). Energy in Wh and varh, power in W, coverage in percent; version counts up with every change; source is actual, interpolated, estimate or edit';
GRANT EXECUTE ON FUNCTION effective_quarters(integer[], timestamptz[], timestamptz[]) TO segs_worker, segs_readonly;
