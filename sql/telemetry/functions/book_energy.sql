-- Energy of minutes, from every read of a register. Between two reads that are believed a register moves in a straight line and
-- is rounded once at each boundary, so that minutes telescope: they add up to the last read minus the first.
--
-- Differences are taken within an epoch only (register_epochs). judged_reads says which reads are left out; of those that are not
-- the next one is:
--   rollover   lower than the one before, where the register wraps at a known modulus and the way across is one that the
--              connection can carry: booked
--   reset      lower than the one before, where the register may begin again: not believed, 0 energy, quality 10
--   backwards  lower than the one before, where it may not: the same, and a sign of tampering
--   jump       farther up than the connection can carry: the same
-- What a register moved by beside an exchange without the final read, or the first one, nobody knows: quality 10, up to the read
-- on that side, and no energy in minutes that have no other.
--
-- How a read is taken depends on two reads on either side of it and on those of 30 s. A new read so changes at most what lies
-- between the fourth read or exchange before it, or two minutes, and the fourth one after; those minutes are computed again as a whole,
-- with as much again as context.

CREATE OR REPLACE FUNCTION book_energy(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_now timestamptz,
    OUT touched_from timestamptz, OUT touched_to timestamptz
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET enable_bitmapscan = off
SET enable_seqscan = off
SET jit = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_minute CONSTANT interval := INTERVAL '1 minute';
    v_disorder CONSTANT interval := clock_disorder();
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    -- As far as the energy of a read that is one longest gap away can reach.
    v_first CONSTANT timestamptz := p_from - 2 * longest_gap();
    v_last CONSTANT timestamptz := p_to + 2 * longest_gap();
    v_raw CONSTANT smallint := quality_raw();
    v_interpolated CONSTANT smallint := quality_interpolated();
    v_failed CONSTANT smallint := quality_failed();
BEGIN
    WITH known AS MATERIALIZED (
        SELECT k.meter_id, k.register FROM meter_registers AS k
        WHERE k.meter_id = ANY (p_meters) AND k.last_day >= p_from - longest_gap() - INTERVAL '1 day'
    ), around AS MATERIALIZED (
        -- One for all registers of a meter: a minute's quality is that of the worst of them.
        SELECT k.meter_id, time_bucket(v_minute, least(p_from - 4 * v_disorder, min(before.at))) AS lo,
               greatest(p_to + 4 * v_disorder, time_bucket(v_minute, max(after.at)) + v_minute) AS hi
        FROM known AS k
        CROSS JOIN LATERAL fourth_read_before(k.meter_id, k.register, p_from, v_first) AS before
        CROSS JOIN LATERAL fourth_read_after(k.meter_id, k.register, p_to, v_last) AS after
        -- What was not read in the span has not changed, unless one of its epochs has, or was taken back.
        WHERE EXISTS (SELECT FROM raw_readings AS w
                      WHERE w.meter_id = k.meter_id AND w.time >= p_from AND w.time < p_to
                        AND register_value(k.register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                           w.reactive_energy_export_varh) IS NOT NULL)
           OR EXISTS (SELECT FROM register_epochs AS e
                      WHERE e.meter_id = k.meter_id AND e.register = k.register AND e.starts_at >= p_from AND e.starts_at < p_to)
           OR EXISTS (SELECT FROM register_events AS e
                      WHERE e.meter_id = k.meter_id AND e.register = k.register AND e.at >= p_from AND e.at < p_to AND e.kind = 'exchange')
        GROUP BY k.meter_id
    ), stretch AS MATERIALIZED (
        -- Readings before the horizon may be gone: what is left of them never replaces what was booked from all of them.
        SELECT s.* FROM around AS s
        WHERE s.lo >= v_horizon OR NOT EXISTS (
            SELECT FROM aggregates_1m AS a
            WHERE a.meter_id = s.meter_id AND a.bucket >= s.lo AND a.bucket < least(s.hi, v_horizon)
              AND a.bucket >= v_first AND a.bucket < v_last
              AND a.samples > (SELECT count(*) FROM raw_readings AS w
                               WHERE w.meter_id = a.meter_id AND w.time >= a.bucket AND w.time < a.bucket + v_minute
                                 AND w.time >= v_first AND w.time < v_last))
    ), context AS MATERIALIZED (
        SELECT s.meter_id, s.lo, s.hi, k.register, least(before.at, s.lo - 4 * v_disorder) AS begins, greatest(after.at, s.hi + 4 * v_disorder) AS ends
        FROM stretch AS s
        JOIN known AS k ON k.meter_id = s.meter_id
        CROSS JOIN LATERAL fourth_read_before(s.meter_id, k.register, s.lo, v_first) AS before
        CROSS JOIN LATERAL fourth_read_after(s.meter_id, k.register, s.hi, v_last) AS after
    ), epoch AS MATERIALIZED (
        SELECT e.meter_id, e.register, e.starts_at, e.final_value, e.first_value,
               row_number() OVER (PARTITION BY e.meter_id, e.register ORDER BY e.starts_at) AS nth
        FROM context AS k
        JOIN register_epochs AS e ON e.meter_id = k.meter_id AND e.register = k.register
        WHERE e.starts_at >= k.begins - longest_gap() AND e.starts_at <= k.ends + longest_gap()
    ), judged AS MATERIALIZED (
        SELECT k.meter_id, k.register, j.*
        FROM context AS k CROSS JOIN LATERAL judged_reads(k.meter_id, k.register, k.begins, k.ends, v_first, v_last) AS j
    ), pair AS MATERIALIZED (
        SELECT l.meter_id, l.register, l.epoch, l.interval_ms, l.modulus, l.resets, l.at, l.value,
               register_allowance(l.max_power_w, l.at, lead(l.at) OVER w) AS allowance,
               lead(l.at) OVER w AS to_at, lead(l.value) OVER w AS to_value
        FROM judged AS l WHERE NOT l.left_out
        WINDOW w AS (PARTITION BY l.meter_id, l.register, l.epoch ORDER BY l.at)
    ), way AS MATERIALIZED (
        SELECT p.*, p.to_value - p.value < 0 AS fell, m.moved, m.moved BETWEEN 0 AND p.allowance AS believed,
               time_bucket(v_minute, p.at) AS from_bucket,
               CASE WHEN p.to_at < p.at + longest_gap() THEN time_bucket(v_minute, p.to_at) END AS to_bucket,
               is_gap(p.interval_ms, p.at, p.to_at) AS gap
        FROM pair AS p
        CROSS JOIN LATERAL (SELECT CASE WHEN p.to_value < p.value AND p.to_value - p.value + p.modulus BETWEEN 0 AND p.allowance
                                        THEN p.to_value - p.value + p.modulus ELSE p.to_value - p.value END) AS m (moved)
    ), unknown AS (
        SELECT e.meter_id, e.register, u.from_at, u.to_at
        FROM context AS k
        JOIN epoch AS e ON e.meter_id = k.meter_id AND e.register = k.register AND e.starts_at BETWEEN k.begins AND k.ends
        CROSS JOIN LATERAL (
            SELECT greatest(max(l.at) FILTER (WHERE l.at < e.starts_at),
                            (SELECT max(o.starts_at) FROM epoch AS o
                             WHERE o.meter_id = e.meter_id AND o.register = e.register AND o.starts_at < e.starts_at)) AS before_at,
                   least(min(l.at) FILTER (WHERE l.at >= e.starts_at),
                         (SELECT min(o.starts_at) FROM epoch AS o
                          WHERE o.meter_id = e.meter_id AND o.register = e.register AND o.starts_at > e.starts_at)) AS after_at
            FROM pair AS l WHERE l.meter_id = e.meter_id AND l.register = e.register AND (l.at, l.epoch) <> (e.starts_at, e.nth - 1)
        ) AS beside
        CROSS JOIN LATERAL (VALUES (CASE WHEN e.final_value IS NULL THEN beside.before_at END, e.starts_at),
                                   (e.starts_at, CASE WHEN e.first_value IS NULL THEN beside.after_at END)) AS u (from_at, to_at)
        WHERE u.from_at < u.to_at AND u.to_at < u.from_at + longest_gap()
    ), part AS (
        -- what moved in the minute of the read itself
        SELECT w.meter_id, w.register, w.from_bucket AS bucket, NULL::real AS coverage,
               CASE WHEN w.to_bucket IS NULL OR NOT w.believed THEN 0
                    WHEN w.to_bucket = w.from_bucket THEN w.moved
                    ELSE register_share(w.moved, w.at, w.from_bucket + v_minute, w.to_at) END AS moved,
               CASE WHEN w.to_bucket IS NULL THEN v_raw
                    WHEN NOT w.believed THEN v_failed
                    WHEN w.gap AND w.to_bucket > w.from_bucket AND w.to_at > w.from_bucket + v_minute THEN v_interpolated
                    ELSE v_raw END AS quality,
               w.value AS lowest, NULL::bigint AS entered, COALESCE(w.fell AND w.to_bucket = w.from_bucket, false) AS broken
        FROM way AS w
        UNION ALL
        -- up to the next read, in that one's minute
        SELECT w.meter_id, w.register, w.to_bucket, NULL,
               CASE WHEN w.believed THEN w.moved - register_share(w.moved, w.at, w.to_bucket, w.to_at) ELSE 0 END,
               CASE WHEN NOT w.believed THEN v_failed WHEN w.gap AND w.to_at > w.to_bucket THEN v_interpolated ELSE v_raw END,
               NULL, w.value + register_share(w.moved, w.at, w.to_bucket, w.to_at), w.fell
        FROM way AS w WHERE w.to_bucket > w.from_bucket
        UNION ALL
        -- in the minutes between, which have no read
        SELECT w.meter_id, w.register, b.bucket,
               CASE WHEN w.believed AND NOT w.gap AND w.interval_ms >= 30000 THEN 100 ELSE 0 END,
               CASE WHEN w.believed THEN register_share(w.moved, w.at, b.bucket + v_minute, w.to_at)
                                         - register_share(w.moved, w.at, b.bucket, w.to_at) ELSE 0 END,
               CASE WHEN NOT w.believed THEN v_failed WHEN w.gap OR w.interval_ms < 30000 THEN v_interpolated ELSE v_raw END,
               NULL, w.value + register_share(w.moved, w.at, b.bucket, w.to_at), w.fell
        FROM way AS w
        JOIN stretch AS s ON s.meter_id = w.meter_id
        CROSS JOIN LATERAL generate_series(greatest(w.from_bucket + v_minute, s.lo),
                                           least(w.to_bucket, s.hi) - v_minute, v_minute) AS b (bucket)
        WHERE w.to_bucket > w.from_bucket + v_minute
        UNION ALL
        SELECT l.meter_id, l.register, time_bucket(v_minute, l.at), NULL, 0, v_failed, NULL, NULL, true FROM judged AS l WHERE l.left_out
        UNION ALL
        SELECT e.meter_id, e.register, time_bucket(v_minute, e.starts_at), NULL, NULL,
               CASE WHEN e.final_value IS NULL OR e.first_value IS NULL THEN v_failed ELSE v_raw END, NULL, NULL, true
        FROM epoch AS e
        UNION ALL
        -- from the last read to an exchange whose final read nobody took, and from one without a first read to the next
        SELECT u.meter_id, u.register, b.bucket, 0, NULL, v_failed, NULL, NULL, true
        FROM unknown AS u
        JOIN stretch AS s ON s.meter_id = u.meter_id
        CROSS JOIN LATERAL generate_series(greatest(time_bucket(v_minute, u.from_at), s.lo),
                                           least(u.to_at - INTERVAL '1 microsecond', s.hi - v_minute), v_minute) AS b (bucket)
        UNION ALL
        -- and what was there before
        SELECT a.meter_id, NULL, a.bucket, NULL, NULL, CASE WHEN a.samples > 0 THEN v_raw END, NULL, NULL, false
        FROM stretch AS s
        JOIN aggregates_1m AS a ON a.meter_id = s.meter_id AND a.bucket >= s.lo AND a.bucket < s.hi
        WHERE a.bucket >= v_first AND a.bucket < v_last
    ), register_minute AS (
        SELECT p.meter_id, p.register, p.bucket, min(p.coverage) AS coverage, max(quality_rank(p.quality)) AS rank,
               sum(p.moved)::bigint AS moved, bool_or(p.broken OR p.quality = v_failed) AS broken,
               min(p.entered) AS entered, min(p.lowest) AS lowest
        FROM part AS p
        JOIN stretch AS s ON s.meter_id = p.meter_id
        WHERE p.bucket >= s.lo AND p.bucket < s.hi
        GROUP BY p.meter_id, p.register, p.bucket
    ), recovered AS (
        -- The read before may be gone by retention; where the register stood when the minute began is known still.
        SELECT m.*, CASE WHEN m.entered IS NULL AND m.bucket < v_horizon + INTERVAL '1 day' THEN m.lowest - greatest(0, least(m.lowest,
                   register_value(m.register, a.energy_import_start_wh, a.energy_export_start_wh,
                                  a.reactive_energy_import_start_varh, a.reactive_energy_export_start_varh)))
               END AS head
        FROM register_minute AS m
        -- The bound is that of the CASE: a constant, by which chunks are excluded that would be searched for every minute.
        LEFT JOIN aggregates_1m AS a ON a.meter_id = m.meter_id AND a.bucket = m.bucket AND a.bucket >= v_first AND a.bucket < v_last
                                        AND a.bucket < v_horizon + INTERVAL '1 day'
    ), minute AS MATERIALIZED (
        -- A minute that was interpolated and has no register any more has nothing to be of any quality.
        SELECT m.meter_id, m.bucket, COALESCE(min(m.coverage), 0) AS coverage,
               COALESCE(quality_of_rank(max(m.rank)), v_failed) AS quality,
               sum(m.moved + COALESCE(m.head, 0)) FILTER (WHERE m.register = 1)::bigint AS energy_import_wh,
               sum(m.moved + COALESCE(m.head, 0)) FILTER (WHERE m.register = 2)::bigint AS energy_export_wh,
               sum(m.moved + COALESCE(m.head, 0)) FILTER (WHERE m.register = 3)::bigint AS reactive_energy_import_varh,
               sum(m.moved + COALESCE(m.head, 0)) FILTER (WHERE m.register = 4)::bigint AS reactive_energy_export_varh,
               min(COALESCE(m.entered, m.lowest - COALESCE(m.head, 0))) FILTER (WHERE m.register = 1 AND NOT m.broken) AS energy_import_start_wh,
               min(COALESCE(m.entered, m.lowest - COALESCE(m.head, 0))) FILTER (WHERE m.register = 2 AND NOT m.broken) AS energy_export_start_wh,
               min(COALESCE(m.entered, m.lowest - COALESCE(m.head, 0))) FILTER (WHERE m.register = 3 AND NOT m.broken) AS reactive_energy_import_start_varh,
               min(COALESCE(m.entered, m.lowest - COALESCE(m.head, 0))) FILTER (WHERE m.register = 4 AND NOT m.broken) AS reactive_energy_export_start_varh
        FROM recovered AS m
        GROUP BY m.meter_id, m.bucket
    ), event AS MATERIALIZED (
        SELECT w.meter_id, w.register, w.to_at AS at,
               CASE WHEN w.fell AND w.believed THEN 'rollover' WHEN w.fell AND w.resets THEN 'reset' WHEN w.fell THEN 'backwards'
                    ELSE 'jump' END AS kind,
               w.at AS before_at, w.value AS before_value, w.to_value AS value
        FROM way AS w WHERE w.fell OR NOT w.believed
        UNION ALL
        SELECT l.meter_id, l.register, l.at, 'glitch', l.before_at, l.before, l.value FROM judged AS l WHERE l.left_out
        UNION ALL
        SELECT e.meter_id, e.register, e.starts_at, 'exchange', NULL, e.final_value, e.first_value FROM epoch AS e
    ), forgotten AS (
        DELETE FROM register_events AS old USING stretch AS s
        WHERE old.meter_id = s.meter_id AND old.at >= s.lo AND old.at < s.hi
          AND NOT EXISTS (SELECT FROM event AS n WHERE n.meter_id = old.meter_id AND n.register = old.register AND n.at = old.at AND n.kind = old.kind)
    ), noted AS (
        INSERT INTO register_events AS old (meter_id, register, at, kind, before_at, before_value, value)
        SELECT n.* FROM event AS n JOIN stretch AS s ON s.meter_id = n.meter_id WHERE n.at >= s.lo AND n.at < s.hi
        ON CONFLICT (meter_id, register, at, kind) DO UPDATE
        SET before_at = EXCLUDED.before_at, before_value = EXCLUDED.before_value, value = EXCLUDED.value
        WHERE (old.before_at, old.before_value, old.value) IS DISTINCT FROM (EXCLUDED.before_at, EXCLUDED.before_value, EXCLUDED.value)
    ), booked AS (
        INSERT INTO aggregates_1m AS old (meter_id, bucket, samples, coverage, quality,
            energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh,
            energy_import_start_wh, energy_export_start_wh,
            reactive_energy_import_start_varh, reactive_energy_export_start_varh)
        SELECT m.meter_id, m.bucket, 0, m.coverage, m.quality,
               m.energy_import_wh, m.energy_export_wh, m.reactive_energy_import_varh, m.reactive_energy_export_varh,
               m.energy_import_start_wh, m.energy_export_start_wh,
               m.reactive_energy_import_start_varh, m.reactive_energy_export_start_varh
        FROM minute AS m
        ON CONFLICT (meter_id, bucket) DO UPDATE
        SET energy_import_wh = EXCLUDED.energy_import_wh, energy_import_start_wh = EXCLUDED.energy_import_start_wh,
            energy_export_wh = EXCLUDED.energy_export_wh, energy_export_start_wh = EXCLUDED.energy_export_start_wh,
            reactive_energy_import_varh = EXCLUDED.reactive_energy_import_varh, reactive_energy_import_start_varh = EXCLUDED.reactive_energy_import_start_varh,
            reactive_energy_export_varh = EXCLUDED.reactive_energy_export_varh, reactive_energy_export_start_varh = EXCLUDED.reactive_energy_export_start_varh,
            coverage = CASE WHEN old.samples = 0 THEN EXCLUDED.coverage ELSE old.coverage END,
            quality = EXCLUDED.quality, computed_at = EXCLUDED.computed_at
        WHERE (old.quality, old.energy_import_wh, old.energy_export_wh, old.reactive_energy_import_varh, old.reactive_energy_export_varh,
               old.energy_import_start_wh, old.energy_export_start_wh, old.reactive_energy_import_start_varh, old.reactive_energy_export_start_varh)
              IS DISTINCT FROM
              (EXCLUDED.quality, EXCLUDED.energy_import_wh, EXCLUDED.energy_export_wh, EXCLUDED.reactive_energy_import_varh,
               EXCLUDED.reactive_energy_export_varh, EXCLUDED.energy_import_start_wh, EXCLUDED.energy_export_start_wh,
               EXCLUDED.reactive_energy_import_start_varh, EXCLUDED.reactive_energy_export_start_varh)
    )
    SELECT min(s.lo), max(s.hi) FROM stretch AS s INTO touched_from, touched_to;
END
$$;
COMMENT ON FUNCTION book_energy(integer[], timestamptz, timestamptz, timestamptz) IS
    'Books the energy of all minutes that reads of the given meters and whole minutes bear on, and notes register_events there; returns the span of these minutes';
GRANT EXECUTE ON FUNCTION book_energy(integer[], timestamptz, timestamptz, timestamptz) TO segs_worker;
