-- Retention by the workers. Few chunks per transaction: each takes locks that are kept to its end. A chunk that is computed
-- from stays as long as a mark still waits for it. A policy of TimescaleDB's would not wait, so on Community too the workers
-- drop these.

CREATE OR REPLACE FUNCTION drop_expired_chunks(p_limit integer, p_now timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_chunk record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('segs.retention', 0)) THEN
        RETURN;
    END IF;
    FOR v_chunk IN
        SELECT c.hypertable_name, c.range_start, c.range_end
        FROM timescaledb_information.chunks AS c
        JOIN retention_periods() AS p ON p.hypertable = c.hypertable_name
        WHERE c.hypertable_schema = 'public' AND c.range_end <= p_now - p.keep
          AND CASE WHEN c.hypertable_name IN ('raw_readings', 'aggregates_1m')
                   THEN NOT EXISTS (SELECT FROM dirty_meters AS d
                                    WHERE d.last_time >= c.range_start AND d.first_time < c.range_end)
                        AND NOT EXISTS (SELECT FROM failed_marks AS f
                                        WHERE f.meter_id IS NOT NULL AND f.last_time >= c.range_start
                                          AND f.first_time < c.range_end)
                   ELSE NOT is_community() END
        ORDER BY c.range_start, c.hypertable_name
        LIMIT p_limit
    LOOP
        RETURN QUERY SELECT drop_chunks(v_chunk.hypertable_name::regclass, older_than => v_chunk.range_end,
                                        newer_than => v_chunk.range_start);
    END LOOP;
END
$$;
COMMENT ON FUNCTION drop_expired_chunks(integer, timestamptz) IS
    'Drops up to p_limit chunks that are older than retention_periods at p_now, oldest first, and returns their names. Nothing while another worker is at it; on the Community edition only raw_readings and aggregates_1m, policies do the rest';
GRANT EXECUTE ON FUNCTION drop_expired_chunks(integer, timestamptz) TO segs_worker;
