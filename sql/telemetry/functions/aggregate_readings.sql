-- One claim: marks out of the queue, minutes and quarter-hours recomputed, regions marked; all of it or nothing.
-- Locks come before the statement that reads raw readings, and each statement has a snapshot of its own (READ COMMITTED):
-- whoever waits for a meter sees what the one before him has written.

CREATE OR REPLACE FUNCTION aggregate_readings(
    p_limit integer DEFAULT 200, p_now timestamptz DEFAULT clock_timestamp(),
    OUT marks integer, OUT minutes integer, OUT quarters integer
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- What a late reading changes may be compressed; TimescaleDB's limit on what a statement opens of it guards against mistakes.
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0
AS $$
DECLARE
    v_lock CONSTANT integer := hashtext('segs.aggregate');
    v_group integer;
    v_meters integer[];
    v_from timestamptz[];
    v_to timestamptz[];
    v_wide_meters integer[];
    v_wide_from timestamptz[];
    v_wide_to timestamptz[];
    v_suspects integer[];
BEGIN
    PERFORM require_readable_chunks();
    minutes := 0;
    quarters := 0;
    WITH claimed AS (
        DELETE FROM dirty_readings WHERE dirty_id IN (
            SELECT dirty_id FROM dirty_readings ORDER BY dirty_id LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING meter_id, first_time, last_time
    ), merged AS (
        SELECT c.meter_id, count(*) AS marks,
               range_agg(tstzrange(time_bucket(INTERVAL '1 minute', c.first_time),
                                   time_bucket(INTERVAL '1 minute', c.last_time) + INTERVAL '1 minute')) AS spans
        FROM claimed AS c GROUP BY c.meter_id
    ), span AS (
        SELECT m.meter_id, unnest(m.spans) AS part FROM merged AS m
    )
    SELECT (SELECT COALESCE(sum(m.marks), 0) FROM merged AS m),
           array_agg(s.meter_id ORDER BY s.meter_id, s.part), array_agg(lower(s.part) ORDER BY s.meter_id, s.part),
           array_agg(upper(s.part) ORDER BY s.meter_id, s.part)
    INTO marks, v_meters, v_from, v_to
    FROM span AS s;
    IF marks = 0 THEN
        RETURN;
    END IF;

    FOR v_group IN SELECT DISTINCT abs(m % 64) AS meter_group FROM unnest(v_meters) AS m ORDER BY meter_group LOOP
        PERFORM pg_advisory_xact_lock(v_lock, v_group);
    END LOOP;

    minutes := summarise_minutes(v_meters, v_from, v_to, p_now);

    SELECT array_agg(e.meter_id), array_agg(e.lo), array_agg(e.hi) INTO v_wide_meters, v_wide_from, v_wide_to
    FROM energy_spans(v_meters, v_from, v_to, 1) AS e;
    v_suspects := book_energy(v_wide_meters, v_wide_from, v_wide_to, 1, p_now);
    IF v_suspects IS NOT NULL THEN
        WITH wide AS (
            SELECT e.* FROM energy_spans(v_meters, v_from, v_to, 5) AS e WHERE e.meter_id = ANY (v_suspects)
            UNION ALL
            SELECT n.* FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS n (meter_id, lo, hi) WHERE n.meter_id <> ALL (v_suspects)
        )
        SELECT array_agg(w.meter_id), array_agg(w.lo), array_agg(w.hi) INTO v_wide_meters, v_wide_from, v_wide_to FROM wide AS w;
        PERFORM book_energy(array_agg(w.meter_id), array_agg(w.lo), array_agg(w.hi), 5, p_now)
        FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS w (meter_id, lo, hi) WHERE w.meter_id = ANY (v_suspects);
    END IF;

    WITH merged AS (
        SELECT w.meter_id, unnest(range_agg(tstzrange(time_bucket(INTERVAL '15 minutes', w.lo),
                   time_bucket(INTERVAL '15 minutes', w.hi - INTERVAL '1 microsecond') + INTERVAL '15 minutes'))) AS part
        FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS w (meter_id, lo, hi) GROUP BY w.meter_id
    )
    SELECT array_agg(m.meter_id), array_agg(lower(m.part)), array_agg(upper(m.part)) INTO v_wide_meters, v_wide_from, v_wide_to
    FROM merged AS m;
    quarters := summarise_quarters(v_wide_meters, v_wide_from, v_wide_to, p_now);

    INSERT INTO dirty_regions (region, bucket)
    SELECT DISTINCT d.region, b.bucket
    FROM unnest(v_wide_meters, v_wide_from, v_wide_to) AS w (meter_id, lo, hi)
    CROSS JOIN LATERAL generate_series(w.lo, w.hi - INTERVAL '15 minutes', INTERVAL '15 minutes') AS b (bucket)
    JOIN device_registry AS d ON d.meter_id = w.meter_id AND d.valid @> b.bucket;
END
$$;
COMMENT ON FUNCTION aggregate_readings(integer, timestamptz) IS
    'Takes up to p_limit marks from dirty_readings, computes what they touch; returns the marks taken, the minutes and quarter-hours computed. p_now decides what may be gone by retention';
GRANT EXECUTE ON FUNCTION aggregate_readings(integer, timestamptz) TO segs_worker;
