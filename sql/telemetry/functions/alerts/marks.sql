-- Marks go into dirty_alerts with what was computed, and come out a block at a time.

CREATE OR REPLACE FUNCTION mark_alerts(p_step_min integer, p_meters integer[], p_first timestamptz, p_last timestamptz, p_now timestamptz) RETURNS void
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    INSERT INTO dirty_alerts (step_min, block, meters, first_bucket, last_bucket, due_at)
    SELECT p_step_min, meter_block(m), array_agg(DISTINCT m), p_first, p_last,
           CASE WHEN p_last + make_interval(mins => p_step_min) <= p_now THEN p_now ELSE settles_at(p_last, p_step_min, p_now) END
    FROM unnest(p_meters) AS m GROUP BY meter_block(m)
$$;
COMMENT ON FUNCTION mark_alerts(integer, integer[], timestamptz, timestamptz, timestamptz) IS
    'Marks minutes (p_step_min 1) or quarter-hours (15) of meters from p_first to p_last, inclusive, to be looked at by rules';
GRANT EXECUTE ON FUNCTION mark_alerts(integer, integer[], timestamptz, timestamptz, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION mark_window(p_step_min integer, p_meters integer[], p_end timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_last CONSTANT timestamptz := p_end - make_interval(mins => p_step_min);
    v_block CONSTANT integer := meter_block(p_meters[1]);
BEGIN
    IF p_end <= p_now THEN
        DELETE FROM dirty_alerts AS d
        WHERE d.block = v_block AND d.step_min = p_step_min AND d.first_bucket = v_last AND d.last_bucket = v_last AND d.due_at > p_now AND d.error IS NULL
          AND NOT EXISTS (SELECT unnest(d.meters) EXCEPT SELECT unnest(p_meters));
        RETURN;
    END IF;
    INSERT INTO dirty_alerts (step_min, block, meters, first_bucket, last_bucket, due_at)
    -- By then its last bucket has been computed, if there is one.
    SELECT p_step_min, v_block, array_agg(m ORDER BY m), v_last, v_last, p_end + make_interval(secs => CASE p_step_min WHEN 1 THEN 30 ELSE 90 END)
    FROM unnest(p_meters) AS m
    WHERE m NOT IN (SELECT unnest(d.meters) FROM dirty_alerts AS d
                    WHERE d.block = v_block AND d.step_min = p_step_min AND d.first_bucket = v_last AND d.last_bucket = v_last AND d.due_at > p_now AND d.error IS NULL)
    HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION mark_window(integer, integer[], timestamptz, timestamptz) IS
    'Has rules look at the window that ends at p_end when it is over, for meters of one block, though nothing may come of its last bucket: marks that once; where it is over, and looked at by the caller, what waits for it goes';
GRANT EXECUTE ON FUNCTION mark_window(integer, integer[], timestamptz, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION claim_alerts(p_limit integer, p_now timestamptz)
RETURNS TABLE (step_min integer, late boolean, meters integer[], first_bucket timestamptz, end_bucket timestamptz)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_lock CONSTANT integer := hashtext('segs.alerts');
    v_recent CONSTANT timestamptz := p_now - INTERVAL '15 minutes';
    v_begun CONSTANT timestamptz := date_bin('1 hour', p_now - INTERVAL '12 hours', '2000-01-01 00:00+00');
    v_block integer;
    v_marks dirty_alerts[];
BEGIN
    FOR v_block IN SELECT d.block FROM dirty_alerts AS d WHERE d.due_at <= p_now GROUP BY d.block ORDER BY min(d.due_at) LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(v_lock, v_block);
        WITH taken AS (
            DELETE FROM dirty_alerts AS d
            WHERE d.dirty_id IN (SELECT o.dirty_id FROM dirty_alerts AS o WHERE o.block = v_block AND o.due_at <= p_now ORDER BY o.due_at, o.dirty_id LIMIT p_limit)
            RETURNING d
        )
        SELECT array_agg(t.d) INTO v_marks FROM taken AS t;
        EXIT WHEN v_marks IS NOT NULL;
    END LOOP;
    RETURN QUERY
    WITH span AS (
        -- Spans of one meter that touch are one.
        SELECT m.step_min, x.meter_id, unnest(range_agg(tstzrange(m.first_bucket, m.last_bucket + make_interval(mins => m.step_min)))) AS span
        FROM unnest(v_marks) AS m CROSS JOIN LATERAL unnest(m.meters) AS x (meter_id)
        GROUP BY m.step_min, x.meter_id
    ), meter AS (
        -- What does not reach into the last quarter of an hour is history; of what does, no more than half a day can still go on.
        SELECT s.step_min, s.meter_id, p.late, p.lo, p.hi
        FROM span AS s
        CROSS JOIN LATERAL (SELECT CASE WHEN upper(s.span) > v_recent THEN least(greatest(lower(s.span), v_begun), upper(s.span)) ELSE upper(s.span) END AS at) AS cut
        CROSS JOIN LATERAL (VALUES
            (true, lower(s.span), cut.at),
            -- What came after what followed it is looked at together with that: it may be over.
            (false, cut.at, CASE WHEN upper(s.span) > v_recent AND upper(s.span) < p_now - INTERVAL '3 minutes'
                                 THEN greatest(upper(s.span), date_bin(make_interval(mins => s.step_min), p_now - INTERVAL '1 minute', '2000-01-01 00:00+00'))
                                 ELSE upper(s.span) END)) AS p (late, lo, hi)
        WHERE p.hi > p.lo
    )
    SELECT m.step_min::integer, m.late, array_agg(m.meter_id ORDER BY m.meter_id), m.lo, m.hi
    FROM meter AS m GROUP BY m.step_min, m.late, m.lo, m.hi ORDER BY m.late, m.lo, m.step_min;
END
$$;
COMMENT ON FUNCTION claim_alerts(integer, timestamptz) IS
    'Takes up to p_limit marks that are due from the block that has waited longest and that nobody else is at, and locks the block until the transaction ends: meters and spans, half-open, what is recent first';
GRANT EXECUTE ON FUNCTION claim_alerts(integer, timestamptz) TO segs_worker;
