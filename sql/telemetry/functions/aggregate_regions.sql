-- Quarter-hours of regions from aggregates_15m: the meters that belonged to the region when the quarter-hour began.

CREATE OR REPLACE FUNCTION aggregate_regions(
    p_limit integer DEFAULT 1000, p_now timestamptz DEFAULT clock_timestamp(), p_early boolean DEFAULT false,
    OUT marks integer, OUT quarters integer, OUT failed integer
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_lock CONSTANT integer := hashtext('segs.aggregate_regions');
    v_group integer;
    v_regions text[];
    v_buckets timestamptz[];
BEGIN
    quarters := 0;
    failed := 0;
    WITH claimed AS (
        DELETE FROM dirty_regions WHERE dirty_id IN (
            SELECT dirty_id FROM dirty_regions WHERE p_early OR due_at <= p_now ORDER BY dirty_id LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING region, bucket
    ), once AS (
        SELECT DISTINCT c.region, c.bucket FROM claimed AS c
    )
    SELECT (SELECT count(*) FROM claimed), array_agg(o.region ORDER BY o.region, o.bucket), array_agg(o.bucket ORDER BY o.region, o.bucket)
    INTO marks, v_regions, v_buckets
    FROM once AS o;
    IF marks = 0 THEN
        RETURN;
    END IF;

    FOR v_group IN SELECT DISTINCT hashtext(r) & 63 AS region_group FROM unnest(v_regions) AS r ORDER BY region_group LOOP
        PERFORM pg_advisory_xact_lock(v_lock, v_group);
    END LOOP;

    BEGIN
        quarters := sum_regions(v_regions, v_buckets);
    EXCEPTION WHEN OTHERS THEN
        IF passes_by_itself(SQLSTATE) THEN
            RAISE;
        END IF;
        FOR v_nth IN 1 .. cardinality(v_regions) LOOP
            BEGIN
                quarters := quarters + sum_regions(v_regions[v_nth:v_nth], v_buckets[v_nth:v_nth]);
            EXCEPTION WHEN OTHERS THEN
                IF passes_by_itself(SQLSTATE) THEN
                    RAISE;
                END IF;
                INSERT INTO failed_marks (region, first_time, last_time, marked_at, failed_at, error)
                VALUES (v_regions[v_nth], v_buckets[v_nth], v_buckets[v_nth], p_now, p_now, format('%s (SQLSTATE %s)', SQLERRM, SQLSTATE));
                failed := failed + 1;
            END;
        END LOOP;
    END;
END
$$;
COMMENT ON FUNCTION aggregate_regions(integer, timestamptz, boolean) IS
    'Takes up to p_limit marks from dirty_regions, those that are due at p_now or, if p_early, any, and sums those quarter-hours. Returns the marks taken, the quarter-hours written, and how many marks were set aside for an error';

CREATE OR REPLACE FUNCTION sum_regions(p_regions text[], p_buckets timestamptz[]) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_first CONSTANT timestamptz := (SELECT min(b) FROM unnest(p_buckets) AS b);
    v_last CONSTANT timestamptz := (SELECT max(b) FROM unnest(p_buckets) AS b);
    v_written integer;
BEGIN
    INSERT INTO regional_15m AS old (region, bucket, meters, meters_expected, energy_import_wh, energy_export_wh,
        power_w_mean, capacity_w, load_percent, coverage, quality)
    SELECT w.region, w.bucket, m.meters, m.meters_expected, m.energy_import_wh, m.energy_export_wh,
           m.power_w_mean, r.capacity_w, 100 * m.power_w_mean / r.capacity_w, m.coverage, m.quality
    FROM unnest(p_regions, p_buckets) AS w (region, bucket)
    JOIN region_registry AS r ON r.region = w.region
    CROSS JOIN LATERAL (
        SELECT count(a.meter_id)::integer AS meters, count(*)::integer AS meters_expected,
               sum(a.energy_import_wh)::bigint AS energy_import_wh, sum(a.energy_export_wh)::bigint AS energy_export_wh,
               sum(a.power_w_sum / nullif(a.power_w_count, 0) ORDER BY d.meter_id) AS power_w_mean,
               least(100, sum(COALESCE(a.coverage, 0)::double precision ORDER BY d.meter_id) / count(*))::real AS coverage,
               quality_of_rank(max(quality_rank(a.quality))) AS quality
        FROM device_registry AS d
        LEFT JOIN aggregates_15m AS a ON a.meter_id = d.meter_id AND a.bucket = w.bucket AND a.bucket >= v_first AND a.bucket <= v_last
        WHERE d.region = w.region AND d.valid @> w.bucket
    ) AS m
    WHERE m.meters > 0
    ON CONFLICT (region, bucket) DO UPDATE
    SET meters = EXCLUDED.meters, meters_expected = EXCLUDED.meters_expected, energy_import_wh = EXCLUDED.energy_import_wh,
        energy_export_wh = EXCLUDED.energy_export_wh, power_w_mean = EXCLUDED.power_w_mean, capacity_w = EXCLUDED.capacity_w,
        load_percent = EXCLUDED.load_percent, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        computed_at = EXCLUDED.computed_at;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION sum_regions(text[], timestamptz[]) IS 'Computes regional_15m for regions and quarter-hours, pair by pair; returns the quarter-hours written';
GRANT EXECUTE ON FUNCTION aggregate_regions(integer, timestamptz, boolean) TO segs_worker;
GRANT EXECUTE ON FUNCTION sum_regions(text[], timestamptz[]) TO segs_worker;
