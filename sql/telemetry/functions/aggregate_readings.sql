-- One claim: marks out of the queue, minutes computed, quarter-hours marked; all of it or nothing. The lock comes before the
-- statements that read raw readings, and each statement has a snapshot of its own (READ COMMITTED): whoever has a block sees
-- what the one before him has written.

CREATE OR REPLACE FUNCTION aggregate_readings(
    p_limit integer DEFAULT 500, p_now timestamptz DEFAULT clock_timestamp(), p_early boolean DEFAULT false,
    OUT marks integer, OUT minutes integer, OUT failed integer
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- What a late reading changes may be compressed; TimescaleDB's limit on what a statement opens of it guards against mistakes.
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0
AS $$
DECLARE
    v_marks CONSTANT dirty_meters[] := claim_marks(1, p_limit, CASE WHEN p_early THEN 'infinity' ELSE p_now END);
BEGIN
    PERFORM require_readable_chunks();
    marks := cardinality(v_marks);
    minutes := 0;
    failed := 0;
    IF marks > 0 THEN
        minutes := compute_minutes(v_marks, p_now);
    END IF;
EXCEPTION WHEN OTHERS THEN
    IF passes_by_itself(SQLSTATE) THEN
        RAISE;
    END IF;
    failed := put_back(v_marks, SQLSTATE, SQLERRM, p_now);
END
$$;
COMMENT ON FUNCTION aggregate_readings(integer, timestamptz, boolean) IS
    'Takes up to p_limit marks of a block, those that are due at p_now or, if p_early, any, and computes the minutes they touch. Returns the marks taken, the minutes written, and how many marks were set aside for an error';

CREATE OR REPLACE FUNCTION compute_minutes(p_marks dirty_meters[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_minute CONSTANT interval := INTERVAL '1 minute';
    v_part record;
    v_done record;
    v_energy record;
    v_minutes integer := 0;
BEGIN
    FOR v_part IN
        -- Short spans that follow one another are computed as one. A long one is taken by itself: it would drag along meters
        -- that have nothing to do with it.
        WITH span AS (
            SELECT m.nth, time_bucket(v_minute, m.first_time) AS lo, time_bucket(v_minute, m.last_time) + v_minute AS hi
            FROM unnest(p_marks) WITH ORDINALITY AS m (dirty_id, resolution_min, block, meters, first_time, last_time, due_at, alone, marked_at, nth)
        ), sorted AS (
            SELECT s.*, s.hi - s.lo > 3 * v_minute AS long,
                   s.lo > max(s.hi) OVER (PARTITION BY s.hi - s.lo > 3 * v_minute ORDER BY s.lo, s.hi
                                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS apart
            FROM span AS s
        ), numbered AS (
            SELECT s.*, count(*) FILTER (WHERE s.apart) OVER (PARTITION BY s.long ORDER BY s.lo, s.hi) AS island FROM sorted AS s
        )
        SELECT (SELECT array_agg(o.meter_id) FROM (SELECT DISTINCT x.meter_id FROM unnest(p.marks) AS k
                CROSS JOIN LATERAL unnest((p_marks[k]).meters) AS x (meter_id)) AS o) AS meters, p.lo, p.hi
        FROM (SELECT array_agg(n.nth) AS marks, min(n.lo) AS lo, max(n.hi) AS hi FROM numbered AS n
              GROUP BY n.long, CASE WHEN NOT n.long THEN n.island END, CASE WHEN n.long THEN n.lo END, CASE WHEN n.long THEN n.hi END) AS p
        ORDER BY p.lo
    LOOP
        SELECT * INTO v_done FROM summarise_minutes(v_part.meters, v_part.lo, v_part.hi, p_now);
        v_minutes := v_minutes + v_done.minutes;
        IF v_done.touched_to IS NOT NULL THEN
            PERFORM mark_meters(15, v_part.meters, v_done.touched_from, v_done.touched_to - v_minute, p_now);
            PERFORM mark_alerts(1, v_part.meters, v_done.touched_from, v_done.touched_to - v_minute, p_now);
        END IF;
        IF v_done.suspects IS NOT NULL THEN
            SELECT * INTO v_energy FROM book_energy(v_done.suspects, v_part.lo, v_part.hi, p_now);
            IF v_energy.touched_to IS NOT NULL THEN
                PERFORM mark_meters(15, v_done.suspects, v_energy.touched_from, v_energy.touched_to - v_minute, p_now);
            END IF;
        END IF;
    END LOOP;
    RETURN v_minutes;
END
$$;
COMMENT ON FUNCTION compute_minutes(dirty_meters[], timestamptz) IS
    'Computes the minutes that marks of one block touch, and marks their quarter-hours; returns the minutes written';
GRANT EXECUTE ON FUNCTION aggregate_readings(integer, timestamptz, boolean) TO segs_worker;
GRANT EXECUTE ON FUNCTION compute_minutes(dirty_meters[], timestamptz) TO segs_worker;
