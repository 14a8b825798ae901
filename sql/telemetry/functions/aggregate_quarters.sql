-- One claim: marks out of the queue, quarter-hours computed from minutes, regions marked; all of it or nothing.

CREATE OR REPLACE FUNCTION aggregate_quarters(
    p_limit integer DEFAULT 500, p_now timestamptz DEFAULT clock_timestamp(), p_early boolean DEFAULT false,
    OUT marks integer, OUT quarters integer, OUT failed integer
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0
AS $$
DECLARE
    v_marks CONSTANT dirty_meters[] := claim_marks(15, p_limit, CASE WHEN p_early THEN 'infinity' ELSE p_now END);
BEGIN
    PERFORM require_readable_chunks();
    marks := cardinality(v_marks);
    quarters := 0;
    failed := 0;
    IF marks > 0 THEN
        quarters := compute_quarters(v_marks, p_now);
    END IF;
EXCEPTION WHEN OTHERS THEN
    IF passes_by_itself(SQLSTATE) THEN
        RAISE;
    END IF;
    failed := put_back(v_marks, SQLSTATE, SQLERRM, p_now);
END
$$;
COMMENT ON FUNCTION aggregate_quarters(integer, timestamptz, boolean) IS
    'Takes up to p_limit marks of a block, those that are due at p_now or, if p_early, any, and computes the quarter-hours they touch. Returns the marks taken, the quarter-hours written, and how many marks were set aside for an error';

CREATE OR REPLACE FUNCTION compute_quarters(p_marks dirty_meters[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    v_part record;
    v_quarters integer := 0;
BEGIN
    FOR v_part IN
        WITH span AS (
            SELECT m.meters, time_bucket(v_quarter, m.first_time) AS lo, time_bucket(v_quarter, m.last_time) + v_quarter AS hi
            FROM unnest(p_marks) AS m
        )
        SELECT array_agg(DISTINCT x.meter_id ORDER BY x.meter_id) AS meters, s.lo, s.hi
        FROM span AS s CROSS JOIN LATERAL unnest(s.meters) AS x (meter_id)
        GROUP BY s.lo, s.hi ORDER BY s.lo, s.hi
    LOOP
        v_quarters := v_quarters + summarise_quarters(v_part.meters, v_part.lo, v_part.hi, p_now);
        PERFORM mark_alerts(15, v_part.meters, v_part.lo, v_part.hi - v_quarter, p_now);
        -- Of a quarter-hour that has just ended other meters will follow: a region waits for them a moment.
        INSERT INTO dirty_regions (region, bucket, due_at)
        SELECT DISTINCT d.region, b.bucket, CASE WHEN b.bucket < p_now - INTERVAL '20 minutes' THEN p_now ELSE p_now + INTERVAL '10 seconds' END
        FROM device_registry AS d
        CROSS JOIN generate_series(v_part.lo, v_part.hi - v_quarter, v_quarter) AS b (bucket)
        WHERE d.meter_id = ANY (v_part.meters) AND d.valid @> b.bucket;
    END LOOP;
    RETURN v_quarters;
END
$$;
COMMENT ON FUNCTION compute_quarters(dirty_meters[], timestamptz) IS
    'Computes the quarter-hours that marks of one block touch, and marks their regions; returns the quarter-hours written';
GRANT EXECUTE ON FUNCTION aggregate_quarters(integer, timestamptz, boolean) TO segs_worker;
GRANT EXECUTE ON FUNCTION compute_quarters(dirty_meters[], timestamptz) TO segs_worker;
