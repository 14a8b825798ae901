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
GRANT EXECUTE ON FUNCTION stream_completeness(timestamptz, timestamptz) TO segs_worker, segs_readonly;

CREATE OR REPLACE FUNCTION completeness_of(p_meters integer[], p_from timestamptz, p_to timestamptz, p_whole boolean, p_gaps integer)
RETURNS TABLE (meter_id integer, meter_code text, gateway text, device text, interval_ms integer, first_time timestamptz,
               last_time timestamptz, expected bigint, received bigint, missing bigint, gap_count bigint, gaps jsonb,
               stretches jsonb, reasons jsonb, quarantined bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT d.meter_id, d.meter_code, g.name, d.device, d.interval_ms, came.first_time, came.last_time,
           -- Where a window begins and ends between two polls is no reading.
           CASE WHEN abs(rate.expected - came.received - told.missing) <= 1 THEN came.received + told.missing ELSE rate.expected END,
           came.received, told.missing, COALESCE(cardinality(lacking.gaps), 0), told.gaps, told.stretches, told.reasons, aside.readings
    -- A meter that only moved to another place is one registration.
    FROM (SELECT r.gateway_id, r.device, r.meter_id, r.meter_code, r.interval_ms, unnest(range_agg(r.valid)) AS valid
          -- Two plans in one: of a few meters by index, of all without.
          FROM (SELECT a.* FROM device_registry AS a WHERE p_meters IS NULL
                UNION ALL SELECT f.* FROM device_registry AS f WHERE f.meter_id = ANY (p_meters)) AS r
          GROUP BY r.gateway_id, r.device, r.meter_id, r.meter_code, r.interval_ms) AS d
    JOIN gateway_registry AS g ON g.gateway_id = d.gateway_id
    CROSS JOIN LATERAL (SELECT greatest(p_from, lower(d.valid)) AS lo, least(p_to, upper(d.valid)) AS hi,
                               -- A meter may be slower than its interval by so much, and lacks nothing.
                               make_interval(secs => d.interval_ms * 1.01 / 1000) AS longest,
                               make_interval(secs => d.interval_ms * 0.1 / 1000) AS shortest,
                               make_interval(secs => greatest(60, 10 * d.interval_ms / 1000.0)) AS neighbours) AS span
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE NOT s.edge) AS received,
               min(s.time) FILTER (WHERE NOT s.edge) AS first_time, max(s.time) FILTER (WHERE NOT s.edge) AS last_time,
               count(*) FILTER (WHERE s.close) AS close_together, array_agg(s.before) FILTER (WHERE s.apart) AS begins,
               array_agg(s.time) FILTER (WHERE s.apart) AS ends, array_agg(s.readings) FILTER (WHERE s.apart) AS readings
        -- OFFSET 0: each row is compared once, and not for every one of the sums.
        FROM (SELECT r.*, r.time - r.before > span.longest AS apart, r.time - r.before < span.shortest AS close
              FROM (SELECT t.time, t.edge, lag(t.time) OVER w AS before, row_number() OVER w - 1 - p_whole::integer AS readings
                    FROM (SELECT w.time, false AS edge FROM raw_readings AS w
                          WHERE w.meter_id = d.meter_id
                            AND w.time >= span.lo AND w.time < span.hi AND w.time >= p_from AND w.time < p_to
                          UNION ALL
                          SELECT e.time, true FROM (VALUES (span.lo), (span.hi)) AS e (time) WHERE p_whole
                         ) AS t
                    WINDOW w AS (ORDER BY t.time, t.edge DESC)) AS r
              OFFSET 0) AS s
    ) AS came
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p_whole THEN floor(date_part('epoch', span.hi - span.lo) * 1000 / d.interval_ms)
                    WHEN came.received = 0 THEN 0
                    ELSE round(date_part('epoch', came.last_time - came.first_time) * 1000 / d.interval_ms) + 1 END::bigint AS expected
    ) AS rate
    CROSS JOIN LATERAL (
        SELECT array_agg(tstzrange(e.begins, e.ends, CASE WHEN e.readings = 0 THEN '[)' ELSE '()' END) ORDER BY e.number) AS gaps,
               array_agg(e.missing ORDER BY e.number) AS missing
        FROM unnest(came.begins, came.ends, came.readings,
                    lacking_readings(came.begins, came.ends, came.readings, came.received, came.last_time, d.interval_ms,
                                     p_whole, came.close_together * 4 > came.received))
            WITH ORDINALITY AS e (begins, ends, readings, missing, number)
        WHERE e.missing > 0
    ) AS lacking
    CROSS JOIN LATERAL (
        WITH part AS MATERIALIZED (
            SELECT r.*, count(*) OVER () AS parts,
                   (lag(r.reason) OVER w, lag(r.detail) OVER w) IS DISTINCT FROM (r.reason, r.detail)
                   OR r.first_time - lag(r.last_time) OVER w > span.neighbours AS fresh
            FROM gap_reasons(lacking.gaps, lacking.missing, d.interval_ms, d.gateway_id, d.device, span.lo, span.hi) AS r
            WINDOW w AS (ORDER BY r.number)
        ), stretch AS (
            SELECT min(p.first_time) AS first_time, max(p.last_time) AS last_time, sum(p.missing) AS missing, count(*) AS gaps,
                   min(p.reason) AS reason, min(p.detail) AS detail, p.stretch, count(*) OVER () AS stretches
            FROM (SELECT p.*, count(*) FILTER (WHERE p.fresh) OVER (ORDER BY p.number) AS stretch FROM part AS p) AS p
            GROUP BY p.stretch
        )
        SELECT COALESCE(sum(p.missing), 0)::bigint AS missing,
               COALESCE(jsonb_agg(jsonb_build_object('from', p.first_time, 'to', p.last_time, 'missing', p.missing,
                                                     'reason', p.reason, 'detail', p.detail) ORDER BY p.number)
                            FILTER (WHERE p.number > p.parts - p_gaps), '[]') AS gaps,
               (SELECT COALESCE(jsonb_agg(jsonb_build_object('from', t.first_time, 'to', t.last_time, 'missing', t.missing,
                                                             'gaps', t.gaps, 'reason', t.reason, 'detail', t.detail)
                                          ORDER BY t.stretch), '[]')
                FROM stretch AS t WHERE t.stretch > t.stretches - p_gaps) AS stretches,
               jsonb_build_object(
                   'never_polled', COALESCE(sum(p.missing) FILTER (WHERE p.reason = 'never_polled'), 0),
                   'thinned', COALESCE(sum(p.missing) FILTER (WHERE p.reason = 'thinned'), 0),
                   'quarantined', COALESCE(sum(p.missing) FILTER (WHERE p.reason = 'quarantined'), 0),
                   'in_gateway_buffer', COALESCE(sum(p.missing) FILTER (WHERE p.reason = 'in_gateway_buffer'), 0),
                   'unknown', COALESCE(sum(p.missing) FILTER (WHERE p.reason = 'unknown'), 0)) AS reasons
        FROM part AS p
    ) AS told
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(q.readings), 0)::bigint AS readings FROM quarantine AS q
        WHERE q.released_at IS NULL AND q.gateway_id = d.gateway_id AND q.device = d.device
          AND q.first_time < span.hi AND q.last_time >= span.lo
    ) AS aside
    WHERE d.valid && tstzrange(p_from, p_to)
    ORDER BY d.meter_code, span.lo
$$;
COMMENT ON FUNCTION completeness_of(integer[], timestamptz, timestamptz, boolean, integer) IS
    'meter_completeness() of some meters, of all for NULL';

CREATE OR REPLACE FUNCTION meter_completeness(p_from timestamptz, p_to timestamptz, p_whole boolean, p_gaps integer DEFAULT 100)
RETURNS TABLE (meter_id integer, meter_code text, gateway text, device text, interval_ms integer, first_time timestamptz,
               last_time timestamptz, expected bigint, received bigint, missing bigint, gap_count bigint, gaps jsonb,
               stretches jsonb, reasons jsonb, quarantined bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$ SELECT * FROM completeness_of(NULL, p_from, p_to, p_whole, p_gaps) $$;
COMMENT ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) IS
    'Per meter and registration: readings expected by interval_ms, received, missing by that rate; the newest p_gaps of the parts of gaps, each with its reason, and of the stretches that neighbours for one reason make; missing by reason, quarantined. p_whole: expected in all of p_from to p_to, not only between the first and the last reading';
GRANT EXECUTE ON FUNCTION completeness_of(integer[], timestamptz, timestamptz, boolean, integer) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) TO segs_worker, segs_readonly;
