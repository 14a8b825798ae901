-- What a meter usually takes and gives in a quarter-hour, by its readings of the 21 days before, and a known energy shared out
-- like that.

CREATE OR REPLACE FUNCTION like_days(p_meter_id integer, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (bucket timestamptz, energy_import_wh numeric, energy_export_wh numeric, reactive_energy_import_varh numeric,
               reactive_energy_export_varh numeric)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_zone CONSTANT text := COALESCE((SELECT z.zone FROM meter_zones(ARRAY[p_meter_id]) AS z WHERE p_from >= z.lo AND p_from < z.hi), 'UTC');
    v_first CONSTANT timestamptz := p_from - usual_span();
BEGIN
    RETURN QUERY
    WITH past AS MATERIALIZED (
        SELECT (a.bucket AT TIME ZONE v_zone)::time AS at, weekday_class((a.bucket AT TIME ZONE v_zone)::date) AS class,
               avg(a.energy_import_wh) AS import, avg(a.energy_export_wh) AS export,
               avg(a.reactive_energy_import_varh) AS reactive_import, avg(a.reactive_energy_export_varh) AS reactive_export
        FROM aggregates_15m AS a
        WHERE a.meter_id = p_meter_id AND a.bucket >= v_first AND a.bucket < p_from AND a.samples > 0
          AND a.quality NOT IN (9, 10)
        GROUP BY GROUPING SETS ((1, 2), (1))
    )
    SELECT g, COALESCE(alike.import, other.import), COALESCE(alike.export, other.export),
           COALESCE(alike.reactive_import, other.reactive_import), COALESCE(alike.reactive_export, other.reactive_export)
    FROM generate_series(p_from, p_to - INTERVAL '15 minutes', INTERVAL '15 minutes') AS g
    LEFT JOIN past AS alike ON alike.at = (g AT TIME ZONE v_zone)::time
                           AND alike.class = weekday_class((g AT TIME ZONE v_zone)::date)
    LEFT JOIN past AS other ON other.at = (g AT TIME ZONE v_zone)::time AND other.class IS NULL
    ORDER BY g;
END
$$;
COMMENT ON FUNCTION like_days(integer, timestamptz, timestamptz) IS
    'What each quarter-hour of p_from to p_to was on average at that local time on like days of the 21 days before p_from, or on any day where there is no like one; readings only, NULL where there are none';

-- Arrays hold one element a quarter-hour, in order of time.
CREATE OR REPLACE FUNCTION share_out(p_total bigint, p_weights numeric[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(round(p_total * s.upto / s.total)::bigint - round(p_total * (s.upto - s.weight) / s.total)::bigint ORDER BY s.n)
    FROM (SELECT w.n, w.weight, sum(w.weight) OVER (ORDER BY w.n) AS upto, sum(w.weight) OVER () AS total
          FROM unnest(p_weights) WITH ORDINALITY AS w (weight, n)) AS s
    WHERE s.total > 0 AND array_position(p_weights, NULL) IS NULL
$$;
COMMENT ON FUNCTION share_out(bigint, numeric[]) IS
    'Whole numbers in proportion to the weights, none below 0, that add up to p_total (0 or more); NULL where weights are missing or all 0';

CREATE OR REPLACE FUNCTION shape_gap(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_import bigint, p_export bigint, p_reactive_import bigint,
    p_reactive_export bigint
) RETURNS TABLE (bucket timestamptz, energy_import_wh bigint, energy_export_wh bigint, reactive_energy_import_varh bigint,
                 reactive_energy_export_varh bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT u.*
    FROM (SELECT array_agg(l.bucket) AS buckets, array_agg(l.energy_import_wh) AS import, array_agg(l.energy_export_wh) AS export,
                 array_agg(l.reactive_energy_import_varh) AS reactive_import,
                 array_agg(l.reactive_energy_export_varh) AS reactive_export
          FROM like_days(p_meter_id, p_from, p_to) AS l) AS w
    CROSS JOIN LATERAL unnest(w.buckets, share_out(p_import, w.import), share_out(p_export, w.export),
                              share_out(p_reactive_import, w.reactive_import),
                              share_out(p_reactive_export, w.reactive_export)) AS u
$$;
COMMENT ON FUNCTION shape_gap(integer, timestamptz, timestamptz, bigint, bigint, bigint, bigint) IS
    'Shares the energy of p_from to p_to (Wh, varh) out like like_days(); NULL for a register that has no like days';

CREATE OR REPLACE FUNCTION flat_load(p_meter_id integer, p_before timestamptz, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (bucket timestamptz, energy_import_wh bigint, energy_export_wh bigint, reactive_energy_import_varh bigint,
               reactive_energy_export_varh bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT g.bucket, (round(g.n * m.import) - round((g.n - 1) * m.import))::bigint,
           (round(g.n * m.export) - round((g.n - 1) * m.export))::bigint,
           (round(g.n * m.reactive_import) - round((g.n - 1) * m.reactive_import))::bigint,
           (round(g.n * m.reactive_export) - round((g.n - 1) * m.reactive_export))::bigint
    FROM (SELECT avg(a.energy_import_wh) AS import, avg(a.energy_export_wh) AS export,
                 avg(a.reactive_energy_import_varh) AS reactive_import, avg(a.reactive_energy_export_varh) AS reactive_export
          FROM aggregates_15m AS a
          WHERE a.meter_id = p_meter_id AND a.bucket >= p_before - usual_span() AND a.bucket < p_before
            AND a.samples > 0 AND a.quality NOT IN (9, 10)) AS m
    CROSS JOIN generate_series(p_from, p_to - INTERVAL '15 minutes', INTERVAL '15 minutes') WITH ORDINALITY AS g (bucket, n)
    WHERE num_nonnulls(m.import, m.export, m.reactive_import, m.reactive_export) > 0
$$;
COMMENT ON FUNCTION flat_load(integer, timestamptz, timestamptz, timestamptz) IS
    'The mean quarter-hour of the 21 days before p_before, for each one of p_from to p_to; no rows where nothing was read then';
GRANT EXECUTE ON FUNCTION like_days(integer, timestamptz, timestamptz) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION share_out(bigint, numeric[]) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION shape_gap(integer, timestamptz, timestamptz, bigint, bigint, bigint, bigint) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION flat_load(integer, timestamptz, timestamptz, timestamptz) TO segs_worker, segs_readonly;
