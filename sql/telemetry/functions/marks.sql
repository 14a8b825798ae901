-- Marks go into dirty_meters by mark_meters and come out by claim_marks; what cannot be computed goes back, or aside.

CREATE OR REPLACE FUNCTION meter_block(p_meter_id integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_meter_id >> 12;
COMMENT ON FUNCTION meter_block(integer) IS 'The block of 4096 meters that a meter belongs to: what one worker has for itself while it computes';

-- A bucket that goes on is worth computing once it is over. A clock that is ahead must not keep its readings waiting.
CREATE OR REPLACE FUNCTION settles_at(p_time timestamptz, p_resolution_min integer, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(p_now, public.time_bucket(pg_catalog.make_interval(mins => p_resolution_min), least(p_time, p_now))
                       + pg_catalog.make_interval(mins => p_resolution_min, secs => CASE p_resolution_min WHEN 1 THEN 5 ELSE 30 END));
COMMENT ON FUNCTION settles_at(timestamptz, integer, timestamptz) IS
    'When the bucket that p_time lies in is worth computing: a moment after its end (5 s, or 30 s for quarter-hours, which wait for minutes), or at once when that has passed';

CREATE OR REPLACE FUNCTION mark_meters(p_resolution_min integer, p_meters integer[], p_first timestamptz, p_last timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at)
    SELECT p_resolution_min, meter_block(m), array_agg(DISTINCT m), p_first, p_last, settles_at(p_last, p_resolution_min, p_now)
    FROM unnest(p_meters) AS m GROUP BY meter_block(m)
$$;
COMMENT ON FUNCTION mark_meters(integer, integer[], timestamptz, timestamptz, timestamptz) IS
    'Marks minutes (p_resolution_min 1) or quarter-hours (15) of meters from p_first to p_last, inclusive, to be computed';

CREATE OR REPLACE FUNCTION claim_marks(p_resolution_min integer, p_limit integer, p_until timestamptz) RETURNS dirty_meters[]
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_lock CONSTANT integer := hashtext('segs.aggregate');
    v_block integer;
    v_taken dirty_meters[];
BEGIN
    FOR v_block IN
        SELECT d.block FROM dirty_meters AS d WHERE d.resolution_min = p_resolution_min AND d.due_at <= p_until
        GROUP BY d.block ORDER BY min(d.due_at)
    LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(v_lock, v_block);
        WITH chosen AS MATERIALIZED (
            SELECT d.dirty_id, d.alone, row_number() OVER (ORDER BY d.alone DESC, d.due_at, d.dirty_id) AS nth
            FROM dirty_meters AS d
            WHERE d.resolution_min = p_resolution_min AND d.block = v_block AND d.due_at <= p_until
            ORDER BY d.alone DESC, d.due_at, d.dirty_id LIMIT p_limit
        ), taken AS (
            DELETE FROM dirty_meters AS d
            WHERE d.dirty_id IN (SELECT c.dirty_id FROM chosen AS c
                                 WHERE c.nth = 1 OR NOT EXISTS (SELECT FROM chosen AS o WHERE o.alone))
            RETURNING d
        )
        SELECT array_agg(t.d) INTO v_taken FROM taken AS t;
        -- Whoever had the block a moment ago may have taken them all.
        IF v_taken IS NOT NULL THEN
            RETURN v_taken;
        END IF;
    END LOOP;
    RETURN '{}';
END
$$;
COMMENT ON FUNCTION claim_marks(integer, integer, timestamptz) IS
    'Takes up to p_limit marks that are due at p_until from the block that has waited longest and that nobody else is at, and locks the block until the transaction ends';

CREATE OR REPLACE FUNCTION put_back(p_marks dirty_meters[], p_state text, p_error text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_mark CONSTANT dirty_meters := p_marks[1];
    v_half CONSTANT integer := cardinality(v_mark.meters) / 2;
BEGIN
    IF cardinality(p_marks) = 0 THEN
        RETURN 0;
    END IF;
    IF cardinality(p_marks) > 1 OR v_half > 0 THEN
        INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at, alone, marked_at)
        SELECT m.resolution_min, m.block, part.meters, m.first_time, m.last_time, m.due_at, true, m.marked_at
        FROM unnest(p_marks) AS m
        CROSS JOIN LATERAL (VALUES (CASE WHEN cardinality(p_marks) = 1 THEN m.meters[:v_half] END),
                                   (CASE WHEN cardinality(p_marks) = 1 THEN m.meters[v_half + 1:] ELSE m.meters END)) AS part (meters)
        WHERE part.meters IS NOT NULL;
        RETURN 0;
    END IF;
    INSERT INTO failed_marks (resolution_min, meter_id, first_time, last_time, marked_at, failed_at, error)
    VALUES (v_mark.resolution_min, v_mark.meters[1], v_mark.first_time, v_mark.last_time, v_mark.marked_at, p_now,
            format('%s (SQLSTATE %s)', p_error, p_state));
    RETURN 1;
END
$$;
COMMENT ON FUNCTION put_back(dirty_meters[], text, text, timestamptz) IS
    'Several marks that failed together go back, to be taken one by one; one mark goes back in halves; what fails with a single meter is kept in failed_marks. Returns 1 then, otherwise 0';

CREATE OR REPLACE FUNCTION passes_by_itself(p_state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.left(p_state, 2) IN ('08', '40', '53', '55', '57', '58');
COMMENT ON FUNCTION passes_by_itself(text) IS
    'Whether an error of this SQLSTATE is the server''s and not the mark''s: connections, deadlocks, space, locks, shutdowns, the system. A damaged page (class XX) stays, and is in the way of few meters';
GRANT EXECUTE ON FUNCTION meter_block(integer) TO segs_ingest, segs_worker;
GRANT EXECUTE ON FUNCTION settles_at(timestamptz, integer, timestamptz) TO segs_ingest, segs_worker;
GRANT EXECUTE ON FUNCTION mark_meters(integer, integer[], timestamptz, timestamptz, timestamptz) TO segs_ingest, segs_worker;
GRANT EXECUTE ON FUNCTION claim_marks(integer, integer, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION put_back(dirty_meters[], text, text, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION passes_by_itself(text) TO segs_worker;
