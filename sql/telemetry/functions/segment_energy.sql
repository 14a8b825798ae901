-- Energy of spans that are priced, for whoever may read the meter.

-- An earlier master had it return less.
DROP FUNCTION IF EXISTS segment_energy(integer, timestamptz[], timestamptz[]);
CREATE FUNCTION segment_energy(p_meter_id integer, p_starts timestamptz[], p_ends timestamptz[])
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, known integer, import_wh bigint, export_wh bigint, import_varh bigint, peak_wh bigint,
               quality smallint, estimated boolean, unreactive integer, unreactive_from timestamptz, unreactive_to timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_granted CONSTANT tstzmultirange := require_granted(p_meter_id);
BEGIN
    PERFORM require_span(s.lo, s.hi) FROM unnest(p_starts, p_ends) AS s (lo, hi);
    RETURN QUERY
    WITH span AS MATERIALIZED (
        SELECT s.lo, s.hi, s.n FROM unnest(p_starts, p_ends) WITH ORDINALITY AS s (lo, hi, n)
    ), quarter AS MATERIALIZED (
        SELECT e.bucket, e.energy_import_wh, e.energy_export_wh, e.reactive_energy_import_varh, e.quality, width_bucket(e.bucket, p_starts) AS n,
               CASE WHEN e.reactive_energy_import_varh IS NULL THEN e.bucket END AS unreactive_at
        FROM effective_quarters(ARRAY[p_meter_id], ARRAY[(SELECT min(s.lo) FROM span AS s)], ARRAY[(SELECT max(s.hi) FROM span AS s)]) AS e
        -- A quarter-hour in which one owner followed another belongs to neither.
        WHERE e.energy_import_wh IS NOT NULL AND v_granted @> tstzrange(e.bucket, e.bucket + INTERVAL '15 minutes')
    )
    SELECT s.lo, s.hi, count(q.bucket)::integer, coalesce(sum(q.energy_import_wh), 0)::bigint, coalesce(sum(q.energy_export_wh), 0)::bigint,
           sum(q.reactive_energy_import_varh)::bigint, max(q.energy_import_wh), quality_of_rank(max(quality_rank(q.quality))),
           coalesce(bool_or(q.quality IN (8, 9)), false), count(q.unreactive_at)::integer, min(q.unreactive_at), max(q.unreactive_at) + INTERVAL '15 minutes'
    FROM span AS s LEFT JOIN quarter AS q ON q.n = s.n AND q.bucket < s.hi
    GROUP BY s.n, s.lo, s.hi ORDER BY s.n;
END
$$;
COMMENT ON FUNCTION segment_energy(integer, timestamptz[], timestamptz[]) IS
    'Of each span (whole quarter-hours, disjoint, in order): how many quarter-hours are known and the caller''s to read, what they add up to, the highest, the worst quality, and whether any is an estimate; of how many of them reactive energy is not known, and from when to when these are. Raises SG060 where the caller may not read the meter at any time, SG062';
GRANT EXECUTE ON FUNCTION segment_energy(integer, timestamptz[], timestamptz[]) TO segs_api;
