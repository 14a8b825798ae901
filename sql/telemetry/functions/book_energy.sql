-- Energy of a minute: what its registers moved by. Reads are turned into points in time order; between two of them that
-- are believed a register moves in a straight line and is rounded once at each boundary, so that minutes telescope: they
-- add up to the last read minus the first.
--
-- A minute whose reads only grow is told by its first and its last one. It is suspect when it is odd (register_minutes)
-- or when the step to a neighbour is one that a register does not make; then every read of it counts:
--   dip     lower than both neighbours, while the next read goes on from the one before: left out
--   spike   farther than the connection can carry, while the next read goes on from the one before: left out
--   other   a decrease or a jump: not believed, 0 energy, quality 10
-- How a read is taken depends on two reads on either side of it and no more; so new readings change at most the five
-- neighbouring minutes that have reads, and only one of them unless something is suspect.

CREATE OR REPLACE FUNCTION energy_spans(p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_reach integer)
RETURNS TABLE (meter_id integer, lo timestamptz, hi timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH span AS (
        SELECT s.meter_id, s.lo, s.hi FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
    ), reach AS (
        SELECT s.meter_id, s.lo, s.hi, before.bucket AS first_bucket, after.bucket AS last_bucket
        FROM span AS s
        CROSS JOIN unnest('{1,2,3,4}'::smallint[]) AS k (register)
        CROSS JOIN LATERAL (
            SELECT min(b.bucket) AS bucket
            FROM (SELECT m.bucket FROM register_minutes AS m
                  WHERE m.meter_id = s.meter_id AND m.register = k.register
                    AND m.bucket < s.lo AND m.bucket >= s.lo - INTERVAL '7 days'
                  ORDER BY m.bucket DESC LIMIT p_reach) AS b
        ) AS before
        CROSS JOIN LATERAL (
            SELECT max(a.bucket) AS bucket
            FROM (SELECT m.bucket FROM register_minutes AS m
                  WHERE m.meter_id = s.meter_id AND m.register = k.register
                    AND m.bucket >= s.hi AND m.bucket < s.hi + INTERVAL '7 days'
                  ORDER BY m.bucket LIMIT p_reach) AS a
        ) AS after
        WHERE EXISTS (SELECT FROM register_minutes AS m
                      WHERE m.meter_id = s.meter_id AND m.register = k.register AND m.bucket >= s.lo AND m.bucket < s.hi)
        UNION ALL
        SELECT s.meter_id, s.lo, s.hi, NULL, NULL FROM span AS s
    )
    SELECT spread.meter_id, lower(spread.part), upper(spread.part)
    FROM (
        SELECT r.meter_id, unnest(range_agg(tstzrange(least(r.lo, r.first_bucket),
                                                      greatest(r.hi, r.last_bucket + INTERVAL '1 minute')))) AS part
        FROM reach AS r GROUP BY r.meter_id
    ) AS spread;
END
$$;
COMMENT ON FUNCTION energy_spans(integer[], timestamptz[], timestamptz[], integer) IS
    'The given spans, widened to the p_reach nearest minutes with a read, on either side, of each register that was read in them; disjoint per meter';

CREATE OR REPLACE FUNCTION book_energy(
    p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_reach integer, p_now timestamptz
) RETURNS integer[]
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_minute CONSTANT interval := INTERVAL '1 minute';
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    -- Chunks that a mark kept beyond the horizon are whole: what waited for a worker that long is booked as ever.
    v_kept CONSTANT tstzmultirange := (
        SELECT range_agg(k.part)
        FROM (SELECT tstzrange(v_horizon, NULL) AS part
              UNION ALL
              SELECT tstzrange(c.range_start, c.range_end) FROM timescaledb_information.chunks AS c
              WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'raw_readings' AND c.range_start < v_horizon
                AND (SELECT min(t) FROM unnest(p_from) AS t) < v_horizon
             ) AS k
    );
    v_first CONSTANT timestamptz := (SELECT min(t) - INTERVAL '7 days' FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) + INTERVAL '7 days' FROM unnest(p_to) AS t);
    v_suspects integer[];
BEGIN
    WITH span AS (
        SELECT s.meter_id, s.lo, s.hi FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
    ), device AS MATERIALIZED (
        SELECT d.meter_id, d.valid, d.interval_ms, d.max_power_w FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), minute AS (
        SELECT s.meter_id, s.lo, s.hi, k.register, m.bucket, m.first_at, m.first_value, m.last_at, m.last_value, m.odd,
               COALESCE(d.max_power_w, 1e6) AS max_power_w, COALESCE(d.interval_ms, 60000) AS interval_ms
        FROM span AS s
        CROSS JOIN unnest('{1,2,3,4}'::smallint[]) AS k (register)
        CROSS JOIN LATERAL (
            (SELECT r.* FROM register_minutes AS r
             WHERE r.meter_id = s.meter_id AND r.register = k.register AND r.bucket >= v_first
               AND r.bucket < s.lo AND r.bucket >= s.lo - INTERVAL '7 days'
             ORDER BY r.bucket DESC LIMIT p_reach)
            UNION ALL
            (SELECT r.* FROM register_minutes AS r
             WHERE r.meter_id = s.meter_id AND r.register = k.register AND r.bucket >= v_first AND r.bucket < v_last
               AND r.bucket >= s.lo AND r.bucket < s.hi)
            UNION ALL
            (SELECT r.* FROM register_minutes AS r
             WHERE r.meter_id = s.meter_id AND r.register = k.register AND r.bucket < v_last
               AND r.bucket >= s.hi AND r.bucket < s.hi + INTERVAL '7 days'
             ORDER BY r.bucket LIMIT p_reach)
        ) AS m
        LEFT JOIN device AS d ON d.meter_id = s.meter_id AND d.valid @> m.bucket
    ), step AS (
        SELECT m.*, COALESCE(m.first_value - lag(m.last_value) OVER w
                             NOT BETWEEN 0 AND register_allowance(m.max_power_w, lag(m.last_at) OVER w, m.first_at), false) AS jump
        FROM minute AS m
        WINDOW w AS (PARTITION BY m.meter_id, m.lo, m.register ORDER BY m.bucket)
    ), told AS MATERIALIZED (
        SELECT s.*, s.odd OR s.jump OR lead(s.jump, 1, false) OVER (PARTITION BY s.meter_id, s.lo, s.register ORDER BY s.bucket) AS suspect
        FROM step AS s
    ), later AS MATERIALIZED (
        SELECT DISTINCT t.meter_id FROM told AS t WHERE t.suspect AND p_reach = 1
    ), point AS (
        SELECT t.meter_id, t.lo, t.hi, t.register, t.max_power_w, t.interval_ms, p.at, p.value
        FROM told AS t
        CROSS JOIN LATERAL (
            SELECT t.first_at AS at, t.first_value AS value
            UNION ALL
            SELECT t.last_at, t.last_value WHERE t.last_at > t.first_at
        ) AS p
        WHERE t.meter_id NOT IN (SELECT l.meter_id FROM later AS l)
        UNION ALL
        SELECT t.meter_id, t.lo, t.hi, t.register, t.max_power_w, t.interval_ms, r.at, r.value
        FROM told AS t
        CROSS JOIN LATERAL (
            SELECT w.time AS at, CASE t.register WHEN 1 THEN w.energy_import_wh WHEN 2 THEN w.energy_export_wh
                                                 WHEN 3 THEN w.reactive_energy_import_varh ELSE w.reactive_energy_export_varh END AS value
            FROM raw_readings AS w
            WHERE w.meter_id = t.meter_id AND w.time > t.first_at AND w.time < t.last_at AND w.time >= v_first AND w.time < v_last
        ) AS r
        WHERE t.suspect AND p_reach > 1 AND r.value IS NOT NULL
    ), between_neighbours AS (
        SELECT p.*, lag(p.at) OVER w AS before_at, lag(p.value) OVER w AS before, lead(p.at) OVER w AS after_at, lead(p.value) OVER w AS after
        FROM point AS p
        WINDOW w AS (PARTITION BY p.meter_id, p.lo, p.register ORDER BY p.at)
    ), dipped AS (
        SELECT n.*, COALESCE(n.value < n.before AND n.value < n.after
                             AND n.after - n.before BETWEEN 0 AND register_allowance(n.max_power_w, n.before_at, n.after_at), false) AS dip
        FROM between_neighbours AS n
    ), left_out AS MATERIALIZED (
        SELECT d.*, d.dip OR COALESCE(
                   d.value - d.before > register_allowance(d.max_power_w, d.before_at, d.at) AND d.value > d.after
                   AND d.after - d.before BETWEEN 0 AND register_allowance(d.max_power_w, d.before_at, d.after_at)
                   AND NOT lag(d.dip, 1, false) OVER w AND NOT lead(d.dip, 1, false) OVER w, false) AS out
        FROM dipped AS d
        WINDOW w AS (PARTITION BY d.meter_id, d.lo, d.register ORDER BY d.at)
    ), pair AS (
        SELECT l.meter_id, l.lo, l.hi, l.register, l.max_power_w, l.interval_ms, l.at, l.value,
               lead(l.at) OVER w AS to_at, lead(l.value) OVER w - l.value AS moved
        FROM left_out AS l WHERE NOT l.out
        WINDOW w AS (PARTITION BY l.meter_id, l.lo, l.register ORDER BY l.at)
    ), way AS MATERIALIZED (
        SELECT p.*, time_bucket(v_minute, p.at) AS from_bucket,
               CASE WHEN p.to_at < p.at + INTERVAL '7 days' THEN time_bucket(v_minute, p.to_at) END AS to_bucket,
               p.moved BETWEEN 0 AND register_allowance(p.max_power_w, p.at, p.to_at) AS believed,
               p.to_at - p.at > p.interval_ms * INTERVAL '2.5 milliseconds' AS gap
        FROM pair AS p
    ), part AS (
        -- what moved in the minute of the read itself
        SELECT w.meter_id, w.lo, w.hi, w.register, w.from_bucket AS bucket, NULL::real AS coverage,
               CASE WHEN w.to_bucket IS NULL OR NOT w.believed THEN 0
                    WHEN w.to_bucket = w.from_bucket THEN w.moved
                    ELSE register_share(w.moved, w.at, w.from_bucket + v_minute, w.to_at) END AS moved,
               CASE WHEN w.to_bucket IS NULL THEN 14
                    WHEN NOT w.believed THEN 10
                    WHEN w.gap AND w.to_bucket > w.from_bucket AND w.to_at > w.from_bucket + v_minute THEN 9
                    ELSE 14 END AS quality
        FROM way AS w
        UNION ALL
        -- up to the next read, in that one's minute
        SELECT w.meter_id, w.lo, w.hi, w.register, w.to_bucket, NULL,
               CASE WHEN w.believed THEN w.moved - register_share(w.moved, w.at, w.to_bucket, w.to_at) ELSE 0 END,
               CASE WHEN NOT w.believed THEN 10 WHEN w.gap AND w.to_at > w.to_bucket THEN 9 ELSE 14 END
        FROM way AS w WHERE w.to_bucket > w.from_bucket
        UNION ALL
        -- in the minutes between, which have no read
        SELECT w.meter_id, w.lo, w.hi, w.register, b.bucket,
               CASE WHEN w.believed AND NOT w.gap AND w.interval_ms >= 30000 THEN 100 ELSE 0 END,
               CASE WHEN w.believed THEN register_share(w.moved, w.at, b.bucket + v_minute, w.to_at)
                                         - register_share(w.moved, w.at, b.bucket, w.to_at) ELSE 0 END,
               CASE WHEN NOT w.believed THEN 10 WHEN w.gap OR w.interval_ms < 30000 THEN 9 ELSE 14 END
        FROM way AS w
        CROSS JOIN LATERAL generate_series(greatest(w.from_bucket + v_minute, w.lo),
                                           least(w.to_bucket, w.hi) - v_minute, v_minute) AS b (bucket)
        WHERE w.to_bucket > w.from_bucket + v_minute
        UNION ALL
        SELECT l.meter_id, l.lo, l.hi, l.register, time_bucket(v_minute, l.at), NULL, 0, 10 FROM left_out AS l WHERE l.out
    ), booked AS (
        INSERT INTO aggregates_1m AS old (meter_id, bucket, samples, coverage, quality,
            energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh)
        SELECT p.meter_id, p.bucket, 0, COALESCE(min(p.coverage), 0), quality_of_rank(max(quality_rank(p.quality::smallint))),
               sum(p.moved) FILTER (WHERE p.register = 1)::bigint, sum(p.moved) FILTER (WHERE p.register = 2)::bigint,
               sum(p.moved) FILTER (WHERE p.register = 3)::bigint, sum(p.moved) FILTER (WHERE p.register = 4)::bigint
        FROM part AS p
        WHERE p.bucket >= p.lo AND p.bucket < p.hi
        GROUP BY p.meter_id, p.bucket
        ON CONFLICT (meter_id, bucket) DO UPDATE
        SET energy_import_wh = EXCLUDED.energy_import_wh, energy_export_wh = EXCLUDED.energy_export_wh,
            reactive_energy_import_varh = EXCLUDED.reactive_energy_import_varh,
            reactive_energy_export_varh = EXCLUDED.reactive_energy_export_varh,
            coverage = CASE WHEN old.samples = 0 THEN EXCLUDED.coverage ELSE old.coverage END,
            quality = EXCLUDED.quality, computed_at = EXCLUDED.computed_at
        WHERE old.bucket <@ v_kept
          AND (old.energy_import_wh, old.energy_export_wh, old.reactive_energy_import_varh, old.reactive_energy_export_varh, old.quality)
              IS DISTINCT FROM (EXCLUDED.energy_import_wh, EXCLUDED.energy_export_wh, EXCLUDED.reactive_energy_import_varh,
                                EXCLUDED.reactive_energy_export_varh, EXCLUDED.quality)
    )
    SELECT array_agg(l.meter_id) INTO v_suspects FROM later AS l;
    RETURN v_suspects;
END
$$;
COMMENT ON FUNCTION book_energy(integer[], timestamptz[], timestamptz[], integer, timestamptz) IS
    'Books the energy of the minutes in the given spans (from energy_spans, with the same p_reach). With p_reach 1 it leaves out meters that have something suspect there, and returns them; with 5 it books all';
GRANT EXECUTE ON FUNCTION energy_spans(integer[], timestamptz[], timestamptz[], integer) TO segs_worker;
GRANT EXECUTE ON FUNCTION book_energy(integer[], timestamptz[], timestamptz[], integer, timestamptz) TO segs_worker;
