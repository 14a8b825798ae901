-- Quarter-hours of regions from aggregates_15m: the meters that belonged to the region when the quarter-hour began. A region
-- whose meters are all silent has a row that says so; a meter that is silent for long still belongs to it.

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
           m.power_w_mean, r.capacity_w, 100 * m.power_w_mean / r.capacity_w, m.coverage, COALESCE(m.quality, 10)
    FROM unnest(p_regions, p_buckets) AS w (region, bucket)
    CROSS JOIN LATERAL (
        -- Before its capacities were kept, a region had the present one.
        SELECT COALESCE((SELECT c.capacity_w FROM capacity_registry AS c WHERE c.region = g.region AND c.valid @> w.bucket),
                        CASE WHEN NOT EXISTS (SELECT FROM capacity_registry AS c WHERE c.region = g.region) THEN g.capacity_w END) AS capacity_w
        FROM region_registry AS g WHERE g.region = w.region
    ) AS r
    CROSS JOIN LATERAL (
        SELECT count(a.meter_id)::integer AS meters, count(*)::integer AS meters_expected,
               sum(a.energy_import_wh)::bigint AS energy_import_wh, sum(a.energy_export_wh)::bigint AS energy_export_wh,
               -- A meter that tells no power has that of its register.
               sum(COALESCE(a.power_w_sum / nullif(a.power_w_count, 0),
                            4 * (a.energy_import_wh - COALESCE(a.energy_export_wh, 0))) ORDER BY d.meter_id) AS power_w_mean,
               COALESCE(least(100, sum(COALESCE(a.coverage, 0)::double precision ORDER BY d.meter_id) / nullif(count(*), 0)), 0)::real AS coverage,
               quality_of_rank(max(quality_rank(a.quality))) AS quality
        FROM device_registry AS d
        LEFT JOIN aggregates_15m AS a ON a.meter_id = d.meter_id AND a.bucket = w.bucket AND a.bucket >= v_first AND a.bucket <= v_last
        WHERE d.region = w.region AND d.valid @> w.bucket
    ) AS m
    -- What is left when the last meter has moved away is a row of no meters.
    WHERE m.meters_expected > 0 OR EXISTS (SELECT FROM regional_15m AS o
                                       WHERE o.region = w.region AND o.bucket = w.bucket AND o.bucket >= v_first AND o.bucket <= v_last)
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

CREATE OR REPLACE FUNCTION mark_silent_regions(p_from timestamptz, p_to timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_marks integer;
BEGIN
    INSERT INTO dirty_regions (region, bucket)
    SELECT r.region, b.bucket
    FROM generate_series(date_bin('15 minutes', p_from, '2000-01-01 00:00+00'), p_to - INTERVAL '15 minutes', INTERVAL '15 minutes') AS b (bucket)
    CROSS JOIN region_registry AS r
    WHERE EXISTS (SELECT FROM device_registry AS d WHERE d.region = r.region AND d.valid @> b.bucket)
      AND NOT EXISTS (SELECT FROM regional_15m AS o
                      WHERE o.region = r.region AND o.bucket = b.bucket AND o.bucket >= p_from - INTERVAL '15 minutes' AND o.bucket < p_to);
    GET DIAGNOSTICS v_marks = ROW_COUNT;
    RETURN v_marks;
END
$$;
COMMENT ON FUNCTION mark_silent_regions(timestamptz, timestamptz) IS
    'Marks the quarter-hours that ended from p_from to p_to of regions that have meters and no row, so that silence has one; returns the marks made';

CREATE OR REPLACE FUNCTION mark_moved(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_kept CONSTANT tstzrange := tstzrange(retention_horizon('regional_15m', p_now), p_now);
    v_marks integer;
BEGIN
    WITH device AS MATERIALIZED (
        SELECT d.meter_id, d.region, d.valid FROM wanted_devices AS d
    ), touched AS MATERIALIZED (
        -- What a new meter has read was never summed, and is marked when it is computed.
        SELECT o.meter_id FROM ((SELECT d.meter_id, d.region, d.valid FROM device_registry AS d EXCEPT TABLE device)
                                UNION (TABLE device EXCEPT SELECT d.meter_id, d.region, d.valid FROM device_registry AS d)) AS o
        WHERE o.meter_id IN (SELECT d.meter_id FROM device_registry AS d)
    ), old AS (
        SELECT 'meter ' || d.meter_id AS what, d.region, range_agg(d.valid) AS spans
        FROM device_registry AS d WHERE d.meter_id IN (SELECT t.meter_id FROM touched AS t) GROUP BY 1, 2
        UNION ALL
        SELECT 'capacity ' || c.capacity_w, c.region, range_agg(c.valid) FROM capacity_registry AS c GROUP BY 1, 2
    ), new AS (
        SELECT 'meter ' || d.meter_id AS what, d.region, range_agg(d.valid) AS spans
        FROM device AS d WHERE d.meter_id IN (SELECT t.meter_id FROM touched AS t) GROUP BY 1, 2
        UNION ALL
        SELECT 'capacity ' || c.capacity_w, c.region, range_agg(c.valid)
        FROM wanted_capacities AS c
        WHERE c.region IN (SELECT k.region FROM capacity_registry AS k) GROUP BY 1, 2
    ), changed AS (
        SELECT region, ((COALESCE(o.spans, '{}') - COALESCE(n.spans, '{}')) + (COALESCE(n.spans, '{}') - COALESCE(o.spans, '{}')))
                       * v_kept::tstzmultirange AS spans
        FROM old AS o FULL JOIN new AS n USING (what, region)
        WHERE o.spans IS DISTINCT FROM n.spans
    ), span AS (
        SELECT c.region, unnest(c.spans) AS part FROM changed AS c
    )
    INSERT INTO dirty_regions (region, bucket)
    SELECT DISTINCT s.region, b.bucket
    FROM span AS s
    CROSS JOIN LATERAL generate_series(date_bin('15 minutes', lower(s.part), '2000-01-01 00:00+00'), upper(s.part), INTERVAL '15 minutes') AS b (bucket);
    GET DIAGNOSTICS v_marks = ROW_COUNT;
    RETURN v_marks;
END
$$;
COMMENT ON FUNCTION mark_moved(timestamptz) IS
    'Marks the quarter-hours of regions, up to p_now, in which a meter will be a member or no longer, or the capacity another, once the registry is as in the temporary tables wanted_devices and wanted_capacities; returns the marks made';
GRANT EXECUTE ON FUNCTION mark_silent_regions(timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION mark_moved(timestamptz) TO segs_worker;
