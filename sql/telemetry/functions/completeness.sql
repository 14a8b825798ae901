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

-- A gap is the open range between two readings that lie apart; one that begins with the window and not with a reading
-- contains its beginning. The readings that it lacks are slots at equal distances.
CREATE OR REPLACE FUNCTION gap_readings(p_gap tstzrange, p_interval_ms integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(1, pg_catalog.round(pg_catalog.date_part('epoch', pg_catalog.upper(p_gap) - pg_catalog.lower(p_gap)) * 1000 / p_interval_ms)
                   - CASE WHEN pg_catalog.lower_inc(p_gap) THEN 0 ELSE 1 END)::bigint;
COMMENT ON FUNCTION gap_readings(tstzrange, integer) IS
    'How many readings a gap lacks, one each p_interval_ms; as many as intervals where the gap begins with the window, else one fewer';

CREATE OR REPLACE FUNCTION gap_readings_before(p_gap tstzrange, p_readings bigint, p_at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(p_readings, greatest(0, pg_catalog.ceil(
    pg_catalog.date_part('epoch', p_at - pg_catalog.lower(p_gap)) / pg_catalog.date_part('epoch', pg_catalog.upper(p_gap) - pg_catalog.lower(p_gap))
    * (p_readings + CASE WHEN pg_catalog.lower_inc(p_gap) THEN 0 ELSE 1 END)
    + CASE WHEN pg_catalog.lower_inc(p_gap) THEN 0.5 ELSE 0 END) - 1))::bigint;
COMMENT ON FUNCTION gap_readings_before(tstzrange, bigint, timestamptz) IS
    'How many of the p_readings that a gap lacks belong before p_at';

CREATE OR REPLACE FUNCTION clamped_time(p_us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.to_timestamp(least(greatest(p_us / 1e6, -1e11), 2e11));
COMMENT ON FUNCTION clamped_time(bigint) IS 'The time of microseconds since 1970, or one before or after all that is of interest';

CREATE OR REPLACE FUNCTION missing_reasons(p_gateway_id integer, p_device text, p_from timestamptz, p_to timestamptz, p_around interval)
RETURNS TABLE (rank integer, reason text, detail text, spans tstzmultirange)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    -- A whole reading that waits in the quarantine explains its own slot and no other.
    SELECT CASE q.reason WHEN 'unknown_device' THEN 1 WHEN 'future' THEN 2 ELSE 3 END, 'quarantined', q.reason,
           range_agg(tstzrange(t.time - p_around, t.time + p_around, '[]'))
    FROM quarantine AS q
    CROSS JOIN LATERAL (SELECT clamped_time(e.time_us::bigint) AS time FROM jsonb_array_elements_text(q.block -> 'time_us') AS e (time_us)) AS t
    WHERE q.released_at IS NULL AND q.gateway_id = p_gateway_id AND q.device = p_device
      AND q.reason IN ('unknown_device', 'future', 'too_old') AND q.first_time < p_to AND q.last_time >= p_from
      AND t.time >= p_from AND t.time < p_to
    GROUP BY q.reason
    UNION ALL
    SELECT CASE n.kind WHEN 'silent' THEN 4 WHEN 'not_running' THEN 5 WHEN 'thinned' THEN 6 WHEN 'overflowed' THEN 7
                       WHEN 'damaged' THEN 8 ELSE 9 END,
           CASE WHEN n.kind IN ('silent', 'not_running') THEN 'never_polled' ELSE 'thinned' END, n.kind,
           range_agg(tstzrange(greatest(n.first_time, p_from) - p_around, least(n.last_time, p_to) + p_around, '[]'))
    FROM gateway_notes AS n
    WHERE n.gateway_id = p_gateway_id AND tstzrange(n.first_time, n.last_time, '[]') && tstzrange(p_from, p_to)
      AND n.kind IN ('silent', 'not_running', 'thinned', 'overflowed', 'damaged', 'refused')
      -- What is said of a device holds for all of its channels.
      AND (n.device IS NULL OR n.device = p_device OR n.device = split_part(p_device, '/', 1))
    GROUP BY n.kind
    UNION ALL
    SELECT 10, 'in_gateway_buffer', '', range_agg(tstzrange(greatest(s.first_time, p_from) - p_around, least(s.last_time, p_to) + p_around, '[]'))
    FROM gateway_reports AS r
    CROSS JOIN LATERAL (SELECT clamped_time((e.span ->> 0)::bigint) AS first_time, clamped_time((e.span ->> 1)::bigint) AS last_time
                        FROM jsonb_array_elements(r.report #> '{backlog,spans}') AS e (span)) AS s
    WHERE r.gateway_id = p_gateway_id AND s.first_time < p_to AND s.last_time >= p_from AND s.first_time <= s.last_time
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION missing_reasons(integer, text, timestamptz, timestamptz, interval) IS
    'Why readings of a device may be missing from p_from to p_to: spans by reason and detail, each wider by p_around at both ends. Where several hold, the lowest rank counts';

CREATE OR REPLACE FUNCTION gap_reasons(p_gaps tstzmultirange, p_interval_ms integer, p_gateway_id integer, p_device text,
                                       p_from timestamptz, p_to timestamptz)
RETURNS TABLE (first_time timestamptz, last_time timestamptz, missing bigint, reason text, detail text, number bigint)
LANGUAGE sql STABLE STRICT
SET search_path = public, pg_temp
AS $$
    WITH reasons AS MATERIALIZED (
        SELECT r.* FROM missing_reasons(p_gateway_id, p_device, p_from, p_to, make_interval(secs => p_interval_ms / 2000.0)) AS r
    ), claimed AS (
        SELECT r.reason, r.detail, p_gaps * r.spans
                   - COALESCE(range_agg(r.spans) OVER (ORDER BY r.rank ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW), '{}') AS parts
        FROM reasons AS r
        UNION ALL
        SELECT 'unknown', '', p_gaps - COALESCE((SELECT range_agg(r.spans) FROM reasons AS r), '{}')
    ), gap AS MATERIALIZED (
        SELECT g.range, g.number, gap_readings(g.range, p_interval_ms) AS readings
        FROM unnest(p_gaps) WITH ORDINALITY AS g (range, number)
    ), placed AS (
        -- Each part lies in the gap that begins last before it.
        SELECT p.*, max(p.gap) OVER (ORDER BY lower(p.range), p.gap NULLS LAST) AS number
        FROM (SELECT g.range, g.number AS gap, NULL::text AS reason, NULL::text AS detail FROM gap AS g
              UNION ALL SELECT u.range, NULL, c.reason, c.detail FROM claimed AS c CROSS JOIN unnest(c.parts) AS u (range)) AS p
    ), counted AS (
        SELECT p.number, g.range AS gap, p.range, p.reason, p.detail,
               gap_readings_before(g.range, g.readings, upper(p.range)) - gap_readings_before(g.range, g.readings, lower(p.range)) AS missing
        FROM placed AS p JOIN gap AS g USING (number)
        WHERE p.gap IS NULL
    ), begun AS (
        SELECT c.*, (lag(c.reason) OVER w, lag(c.detail) OVER w) IS DISTINCT FROM (c.reason, c.detail) AS fresh
        FROM counted AS c
        WHERE c.missing > 0
        WINDOW w AS (PARTITION BY c.number ORDER BY c.range)
    ), run AS (
        SELECT b.number, b.gap, b.reason, b.detail, sum(b.missing)::bigint AS missing, max(upper(b.range)) AS ends
        FROM (SELECT b.*, count(*) FILTER (WHERE b.fresh) OVER (PARTITION BY b.number ORDER BY b.range) AS run FROM begun AS b) AS b
        GROUP BY b.number, b.gap, b.run, b.reason, b.detail
    )
    -- A part without a slot of its own belongs to its neighbour.
    SELECT COALESCE(lag(r.ends) OVER w, lower(r.gap)), CASE WHEN lead(r.ends) OVER w IS NULL THEN upper(r.gap) ELSE r.ends END,
           r.missing, r.reason, r.detail, row_number() OVER (ORDER BY r.number, r.ends)
    FROM run AS r
    WINDOW w AS (PARTITION BY r.number ORDER BY r.ends)
$$;
COMMENT ON FUNCTION gap_reasons(tstzmultirange, integer, integer, text, timestamptz, timestamptz) IS
    'The gaps of a device, split where the reason changes: never_polled, thinned, quarantined, in_gateway_buffer or unknown; detail is the kind of note, or what the quarantine says. Numbered in order of time';

CREATE OR REPLACE FUNCTION meter_completeness(p_from timestamptz, p_to timestamptz, p_whole boolean, p_gaps integer DEFAULT 100)
RETURNS TABLE (meter_id integer, meter_code text, gateway text, device text, interval_ms integer, first_time timestamptz,
               last_time timestamptz, expected bigint, received bigint, missing bigint, gap_count bigint, gaps jsonb,
               reasons jsonb, quarantined bigint)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT d.meter_id, d.meter_code, g.name, d.device, d.interval_ms, came.first_time, came.last_time,
           CASE WHEN p_whole THEN floor(date_part('epoch', span.hi - span.lo) * 1000 / d.interval_ms)
                WHEN came.received = 0 THEN 0
                ELSE round(date_part('epoch', came.last_time - came.first_time) * 1000 / d.interval_ms) + 1 END::bigint,
           came.received, COALESCE(told.missing, 0), (SELECT count(*) FROM unnest(came.gaps)), COALESCE(told.gaps, '[]'),
           told.reasons, aside.readings
    -- A meter that only moved to another place is one registration.
    FROM (SELECT r.gateway_id, r.device, r.meter_id, r.meter_code, r.interval_ms, unnest(range_agg(r.valid)) AS valid
          FROM device_registry AS r GROUP BY r.gateway_id, r.device, r.meter_id, r.meter_code, r.interval_ms) AS d
    JOIN gateway_registry AS g ON g.gateway_id = d.gateway_id
    CROSS JOIN LATERAL (SELECT greatest(p_from, lower(d.valid)) AS lo, least(p_to, upper(d.valid)) AS hi,
                               make_interval(secs => d.interval_ms / 1000.0) AS step) AS span
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE NOT s.edge) AS received,
               min(s.time) FILTER (WHERE NOT s.edge) AS first_time, max(s.time) FILTER (WHERE NOT s.edge) AS last_time,
               range_agg(tstzrange(s.before, s.time, CASE WHEN s.after_edge THEN '[)' ELSE '()' END))
                   FILTER (WHERE s.time - s.before > 1.5 * span.step) AS gaps
        FROM (SELECT r.time, r.edge, lag(r.time) OVER w AS before, lag(r.edge) OVER w AS after_edge
              FROM (SELECT w.time, false AS edge FROM raw_readings AS w
                    WHERE w.meter_id = d.meter_id AND w.time >= span.lo AND w.time < span.hi AND w.time >= p_from AND w.time < p_to
                    UNION ALL
                    SELECT e.time, true FROM (VALUES (span.lo), (span.hi)) AS e (time) WHERE p_whole
                   ) AS r
              WINDOW w AS (ORDER BY r.time, r.edge DESC)) AS s
    ) AS came
    CROSS JOIN LATERAL (
        SELECT sum(e.missing)::bigint AS missing,
               jsonb_agg(jsonb_build_object('from', e.first_time, 'to', e.last_time, 'missing', e.missing, 'reason', e.reason,
                                            'detail', e.detail) ORDER BY e.number) FILTER (WHERE e.number > e.parts - p_gaps) AS gaps,
               jsonb_build_object(
                   'never_polled', COALESCE(sum(e.missing) FILTER (WHERE e.reason = 'never_polled'), 0),
                   'thinned', COALESCE(sum(e.missing) FILTER (WHERE e.reason = 'thinned'), 0),
                   'quarantined', COALESCE(sum(e.missing) FILTER (WHERE e.reason = 'quarantined'), 0),
                   'in_gateway_buffer', COALESCE(sum(e.missing) FILTER (WHERE e.reason = 'in_gateway_buffer'), 0),
                   'unknown', COALESCE(sum(e.missing) FILTER (WHERE e.reason = 'unknown'), 0)) AS reasons
        FROM (SELECT r.*, count(*) OVER () AS parts
              FROM gap_reasons(came.gaps, d.interval_ms, d.gateway_id, d.device, span.lo, span.hi) AS r) AS e
    ) AS told
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(q.readings), 0)::bigint AS readings FROM quarantine AS q
        WHERE q.released_at IS NULL AND q.gateway_id = d.gateway_id AND q.device = d.device
          AND q.first_time < span.hi AND q.last_time >= span.lo
    ) AS aside
    WHERE d.valid && tstzrange(p_from, p_to)
    ORDER BY d.meter_code, span.lo
$$;
COMMENT ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) IS
    'Per meter and registration: readings expected by interval_ms, received, missing (silences longer than 1.5 intervals, the newest p_gaps of their parts listed with reasons), missing by reason, quarantined. p_whole: expected in all of p_from to p_to, not only between the first and the last reading';
GRANT EXECUTE ON FUNCTION gap_readings(tstzrange, integer) TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION gap_readings_before(tstzrange, bigint, timestamptz) TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION clamped_time(bigint) TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION missing_reasons(integer, text, timestamptz, timestamptz, interval) TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION gap_reasons(tstzmultirange, integer, integer, text, timestamptz, timestamptz)
    TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer) TO segs_worker, segs_api, segs_readonly;
