-- What came of what was expected: per gateway stream by its sequence numbers, per meter by its interval.

CREATE OR REPLACE FUNCTION stream_completeness(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (gateway text, stream uuid, first_seq bigint, last_seq bigint, batches bigint, readings bigint, stored bigint,
               duplicates bigint, quarantined bigint, missing_batches bigint, missing jsonb)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH came AS (
        SELECT b.gateway_id, b.stream, min(b.seq) AS first_seq, max(b.seq) AS last_seq, count(*) AS batches,
               sum(b.readings)::bigint AS readings, sum(b.stored)::bigint AS stored, sum(b.duplicates)::bigint AS duplicates,
               sum((SELECT COALESCE(sum((q ->> 'readings')::bigint), 0) FROM jsonb_array_elements(b.quarantined) AS q))::bigint AS quarantined
        FROM ingest_batches AS b
        WHERE b.received_at >= p_from AND b.received_at < p_to
        GROUP BY b.gateway_id, b.stream
    )
    SELECT g.name, c.stream, c.first_seq, c.last_seq, c.batches, c.readings, c.stored, c.duplicates, c.quarantined,
           COALESCE(hole.batches, 0)::bigint, COALESCE(hole.ranges, '[]')
    FROM came AS c
    JOIN gateway_registry AS g ON g.gateway_id = c.gateway_id
    CROSS JOIN LATERAL (
        SELECT sum(n.next_seq - n.seq - 1) AS batches,
               jsonb_agg(jsonb_build_array(n.seq + 1, n.next_seq - 1) ORDER BY n.seq) AS ranges
        -- A number that came outside the window is not missing; the first batch of a stream is 1.
        FROM (SELECT s.seq, lead(s.seq) OVER (ORDER BY s.seq) AS next_seq
              FROM (SELECT b.seq FROM ingest_batches AS b
                    WHERE b.gateway_id = c.gateway_id AND b.stream = c.stream AND b.seq BETWEEN c.first_seq AND c.last_seq
                    UNION ALL
                    SELECT COALESCE((SELECT max(b.seq) FROM ingest_batches AS b
                                     WHERE b.gateway_id = c.gateway_id AND b.stream = c.stream AND b.seq < c.first_seq), 0)) AS s
             ) AS n
        WHERE n.next_seq > n.seq + 1
    ) AS hole
    ORDER BY g.name, c.first_seq, c.stream
$$;
COMMENT ON FUNCTION stream_completeness(timestamptz, timestamptz) IS
    'Per stream that delivered from p_from to p_to: batches, readings and the inclusive ranges of sequence numbers that never came';
GRANT EXECUTE ON FUNCTION stream_completeness(timestamptz, timestamptz) TO segs_worker, segs_api, segs_readonly;

CREATE OR REPLACE FUNCTION meter_completeness(p_from timestamptz, p_to timestamptz, p_whole boolean, p_gaps integer DEFAULT 100)
RETURNS TABLE (meter_id integer, meter_code text, gateway text, device text, interval_ms integer, first_time timestamptz,
               last_time timestamptz, expected bigint, received bigint, missing bigint, gap_count bigint, gaps jsonb,
               quarantined bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT d.meter_id, d.meter_code, g.name, d.device, d.interval_ms, came.first_time, came.last_time,
           CASE WHEN p_whole THEN floor(date_part('epoch', span.hi - span.lo) * 1000 / d.interval_ms)
                WHEN came.received = 0 THEN 0
                ELSE round(date_part('epoch', came.last_time - came.first_time) * 1000 / d.interval_ms) + 1 END::bigint,
           came.received, COALESCE(came.missing, 0)::bigint, came.gap_count, COALESCE(came.gaps, '[]'), aside.readings
    FROM device_registry AS d
    JOIN gateway_registry AS g ON g.gateway_id = d.gateway_id
    CROSS JOIN LATERAL (SELECT greatest(p_from, lower(d.valid)) AS lo, least(p_to, upper(d.valid)) AS hi) AS span
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE NOT step.edge) AS received,
               min(step.time) FILTER (WHERE NOT step.edge) AS first_time, max(step.time) FILTER (WHERE NOT step.edge) AS last_time,
               count(*) FILTER (WHERE step.readings > 0) AS gap_count, sum(step.readings) AS missing,
               jsonb_agg(jsonb_build_object('from', step.before, 'to', step.time, 'missing', step.readings) ORDER BY step.time)
                   FILTER (WHERE step.readings > 0 AND step.number <= p_gaps) AS gaps
        FROM (
            SELECT s.*, CASE WHEN s.readings > 0 THEN row_number() OVER (PARTITION BY s.readings > 0 ORDER BY s.time) END AS number
            FROM (
                SELECT r.time, r.edge, lag(r.time) OVER w AS before,
                       CASE WHEN date_part('epoch', r.time - lag(r.time) OVER w) * 1000 > 1.5 * d.interval_ms
                            -- One reading fewer than intervals, but from the beginning of the window as many.
                            THEN greatest(1, round(date_part('epoch', r.time - lag(r.time) OVER w) * 1000 / d.interval_ms)
                                             - CASE WHEN lag(r.edge) OVER w THEN 0 ELSE 1 END) ELSE 0 END AS readings
                FROM (SELECT w.time, false AS edge FROM raw_readings AS w
                      WHERE w.meter_id = d.meter_id AND w.time >= span.lo AND w.time < span.hi AND w.time >= p_from AND w.time < p_to
                      UNION ALL
                      SELECT e.time, true FROM (VALUES (span.lo), (span.hi)) AS e (time) WHERE p_whole
                     ) AS r
                WINDOW w AS (ORDER BY r.time, r.edge DESC)
            ) AS s
        ) AS step
    ) AS came
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(q.readings), 0)::bigint AS readings FROM quarantine AS q
        WHERE q.released_at IS NULL AND q.gateway_id = d.gateway_id AND q.device = d.device
          AND q.first_time < span.hi AND q.last_time >= span.lo
    ) AS aside
    WHERE d.valid && tstzrange(p_from, p_to)
    ORDER BY d.meter_code, span.lo
$$;
COMMENT ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) IS
    'Per meter and registration: readings expected by interval_ms, received, missing (silences longer than 1.5 intervals, the first p_gaps of them listed), quarantined. p_whole: expected in all of p_from to p_to, not only between the first and the last reading';
GRANT EXECUTE ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) TO segs_worker, segs_api, segs_readonly;
