-- Minutes from readings, in one pass over the meters that have the same span. Energy too, where a register only grows and was
-- read in every minute: all there is to know then are the first and the last read of a minute, and those next to the span.
-- Meters with anything else are suspects: their energy is left to book_energy, which looks at every read.

CREATE OR REPLACE FUNCTION summarise_minutes(
    p_meters integer[], p_from timestamptz, p_to timestamptz, p_now timestamptz,
    OUT minutes integer, OUT touched_from timestamptz, OUT touched_to timestamptz, OUT suspects integer[]
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- In the order of the index sums come out the same every time. Chunks without statistics must not mislead: what can be hashed is.
SET enable_bitmapscan = off
SET enable_seqscan = off
SET enable_nestloop = off
SET jit = off
SET timescaledb.enable_chunk_append = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_minute CONSTANT interval := INTERVAL '1 minute';
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    v_reach_from CONSTANT timestamptz := p_from - longest_gap();
    v_reach_to CONSTANT timestamptz := p_to + longest_gap();
    v_raw CONSTANT smallint := quality_raw();
    v_interpolated CONSTANT smallint := quality_interpolated();
    v_before CONSTANT timestamptz := p_from - v_minute;
    v_after CONSTANT timestamptz := p_to + v_minute;
    -- A register that was last read farther back has no part in what moves now; its day is that of the start.
    v_known_since CONSTANT timestamptz := v_reach_from - INTERVAL '1 day';
    v_last_day CONSTANT timestamptz := time_bucket(INTERVAL '1 day', p_to - INTERVAL '1 microsecond');
    -- Most meters have the first register alone. The others are looked at where a meter of the span is known to have them; whoever
    -- shows one for the first time is a suspect. Constants are folded, and what they exclude costs nothing.
    v_registers CONSTANT integer := 1 | (SELECT COALESCE(bit_or(1 << k.register - 1), 0) FROM meter_registers AS k
                                         WHERE k.meter_id = ANY (p_meters) AND k.last_day >= v_known_since);
    v_r2 CONSTANT boolean := v_registers & 2 <> 0;
    v_r3 CONSTANT boolean := v_registers & 4 <> 0;
    v_r4 CONSTANT boolean := v_registers & 8 <> 0;
BEGIN
    WITH chained AS (
        SELECT m.*, lag(m.bucket) OVER w AS prior, lead(m.bucket) OVER w AS next,
               lag(m.r1_last_at) OVER w AS r1_prior_at, lag(m.r1_last) OVER w AS r1_prior,
               lead(m.r1_first_at) OVER w AS r1_next_at, lead(m.r1_first) OVER w AS r1_next,
               CASE WHEN v_r2 THEN lag(m.r2_last_at) OVER w END AS r2_prior_at, CASE WHEN v_r2 THEN lag(m.r2_last) OVER w END AS r2_prior,
               CASE WHEN v_r2 THEN lead(m.r2_first_at) OVER w END AS r2_next_at, CASE WHEN v_r2 THEN lead(m.r2_first) OVER w END AS r2_next,
               CASE WHEN v_r3 THEN lag(m.r3_last_at) OVER w END AS r3_prior_at, CASE WHEN v_r3 THEN lag(m.r3_last) OVER w END AS r3_prior,
               CASE WHEN v_r3 THEN lead(m.r3_first_at) OVER w END AS r3_next_at, CASE WHEN v_r3 THEN lead(m.r3_first) OVER w END AS r3_next,
               CASE WHEN v_r4 THEN lag(m.r4_last_at) OVER w END AS r4_prior_at, CASE WHEN v_r4 THEN lag(m.r4_last) OVER w END AS r4_prior,
               CASE WHEN v_r4 THEN lead(m.r4_first_at) OVER w END AS r4_next_at, CASE WHEN v_r4 THEN lead(m.r4_first) OVER w END AS r4_next
        FROM minute_readings(p_meters, p_from, p_to, v_registers) AS m
        WINDOW w AS (PARTITION BY m.meter_id ORDER BY m.bucket)
    ), linked AS (
        -- A read in the minute beside the span is taken from there. If there is none, whether there is one farther off.
        SELECT c.*, e.before_at, e.after_at,
               COALESCE(c.prior < c.bucket - v_minute OR c.next > c.bucket + v_minute, false)
               OR COALESCE(e.before_at < c.bucket - v_minute, false) OR COALESCE(e.after_at >= c.bucket + 2 * v_minute, false)
               OR COALESCE(e.far, false) AS torn,
               COALESCE(c.r1_prior_at, e.before_at) AS r1_from_at, COALESCE(c.r1_prior, e.before_r1) AS r1_from,
               COALESCE(c.r1_next_at, e.after_at) AS r1_to_at, COALESCE(c.r1_next, e.after_r1) AS r1_to,
               COALESCE(c.r2_prior_at, e.before_at) AS r2_from_at, COALESCE(c.r2_prior, e.before_r2) AS r2_from,
               COALESCE(c.r2_next_at, e.after_at) AS r2_to_at, COALESCE(c.r2_next, e.after_r2) AS r2_to,
               COALESCE(c.r3_prior_at, e.before_at) AS r3_from_at, COALESCE(c.r3_prior, e.before_r3) AS r3_from,
               COALESCE(c.r3_next_at, e.after_at) AS r3_to_at, COALESCE(c.r3_next, e.after_r3) AS r3_to,
               COALESCE(c.r4_prior_at, e.before_at) AS r4_from_at, COALESCE(c.r4_prior, e.before_r4) AS r4_from,
               COALESCE(c.r4_next_at, e.after_at) AS r4_to_at, COALESCE(c.r4_next, e.after_r4) AS r4_to
        FROM chained AS c
        LEFT JOIN LATERAL reads_beside(c.meter_id, p_from, p_to, c.prior IS NULL, c.next IS NULL) AS e ON true
        -- Not merged into what follows, which would look again for each use.
        OFFSET 0
    ), told AS MATERIALIZED (
        SELECT l.*,
               register_at_start(l.r1_from, l.r1_from_at, l.bucket, l.r1_first, l.r1_first_at) AS r1_start,
               register_at_end(l.r1_last, l.r1_last_at, l.bucket + v_minute, l.r1_to, l.r1_to_at) AS r1_finish,
               register_at_start(l.r2_from, l.r2_from_at, l.bucket, l.r2_first, l.r2_first_at) AS r2_start,
               register_at_end(l.r2_last, l.r2_last_at, l.bucket + v_minute, l.r2_to, l.r2_to_at) AS r2_finish,
               register_at_start(l.r3_from, l.r3_from_at, l.bucket, l.r3_first, l.r3_first_at) AS r3_start,
               register_at_end(l.r3_last, l.r3_last_at, l.bucket + v_minute, l.r3_to, l.r3_to_at) AS r3_finish,
               register_at_start(l.r4_from, l.r4_from_at, l.bucket, l.r4_first, l.r4_first_at) AS r4_start,
               register_at_end(l.r4_last, l.r4_last_at, l.bucket + v_minute, l.r4_to, l.r4_to_at) AS r4_finish,
               COALESCE(is_gap(l.interval_ms, l.r1_from_at, l.r1_first_at) AND l.r1_first_at > l.bucket, false)
               OR COALESCE(is_gap(l.interval_ms, l.r2_from_at, l.r2_first_at) AND l.r2_first_at > l.bucket, false)
               OR COALESCE(is_gap(l.interval_ms, l.r3_from_at, l.r3_first_at) AND l.r3_first_at > l.bucket, false)
               OR COALESCE(is_gap(l.interval_ms, l.r4_from_at, l.r4_first_at) AND l.r4_first_at > l.bucket, false) AS gap_before,
               COALESCE(is_gap(l.interval_ms, l.r1_last_at, l.r1_to_at) AND l.r1_to_at > l.bucket + v_minute, false)
               OR COALESCE(is_gap(l.interval_ms, l.r2_last_at, l.r2_to_at) AND l.r2_to_at > l.bucket + v_minute, false)
               OR COALESCE(is_gap(l.interval_ms, l.r3_last_at, l.r3_to_at) AND l.r3_to_at > l.bucket + v_minute, false)
               OR COALESCE(is_gap(l.interval_ms, l.r4_last_at, l.r4_to_at) AND l.r4_to_at > l.bucket + v_minute, false) AS gap_after,
               l.r1_first_at IS NOT NULL AND (
                   l.torn OR l.r1_odd OR register_doubtful(l.max_power_w, l.r1_from, l.r1_from_at, l.r1_first, l.r1_first_at)
                   OR register_doubtful(l.max_power_w, l.r1_last, l.r1_last_at, l.r1_to, l.r1_to_at))
               OR l.r2_first_at IS NOT NULL AND (
                   l.torn OR l.r2_odd OR register_doubtful(l.max_power_w, l.r2_from, l.r2_from_at, l.r2_first, l.r2_first_at)
                   OR register_doubtful(l.max_power_w, l.r2_last, l.r2_last_at, l.r2_to, l.r2_to_at))
               OR l.r3_first_at IS NOT NULL AND (
                   l.torn OR l.r3_odd OR register_doubtful(l.max_power_w, l.r3_from, l.r3_from_at, l.r3_first, l.r3_first_at)
                   OR register_doubtful(l.max_power_w, l.r3_last, l.r3_last_at, l.r3_to, l.r3_to_at))
               OR l.r4_first_at IS NOT NULL AND (
                   l.torn OR l.r4_odd OR register_doubtful(l.max_power_w, l.r4_from, l.r4_from_at, l.r4_first, l.r4_first_at)
                   OR register_doubtful(l.max_power_w, l.r4_last, l.r4_last_at, l.r4_to, l.r4_to_at))
               OR l.registers & ~v_registers <> 0 AS doubtful
        FROM linked AS l
    ), meter AS MATERIALIZED (
        SELECT t.meter_id, bool_or(t.doubtful) AS doubtful, bit_or(t.registers) AS seen, bit_and(t.registers) AS whole,
               max(t.bucket) FILTER (WHERE t.registers & 1 <> 0) AS r1_at, max(t.bucket) FILTER (WHERE t.registers & 2 <> 0) AS r2_at,
               max(t.bucket) FILTER (WHERE t.registers & 4 <> 0) AS r3_at, max(t.bucket) FILTER (WHERE t.registers & 8 <> 0) AS r4_at
        FROM told AS t GROUP BY t.meter_id
    ), known AS MATERIALIZED (
        SELECT k.meter_id, bit_or(1 << k.register - 1) AS registers, bit_or(1 << k.register - 1) FILTER (WHERE k.last_day >= v_last_day) AS current
        FROM meter_registers AS k
        WHERE k.meter_id = ANY (p_meters) AND k.last_day >= v_known_since
        GROUP BY k.meter_id
    ), remembered AS (
        INSERT INTO meter_registers AS old (meter_id, register, last_day)
        SELECT m.meter_id, r.register, time_bucket(INTERVAL '1 day', r.at)
        FROM meter AS m LEFT JOIN known AS k ON k.meter_id = m.meter_id
        CROSS JOIN LATERAL (VALUES (1, m.r1_at), (2, m.r2_at), (3, m.r3_at), (4, m.r4_at)) AS r (register, at)
        WHERE m.seen & ~COALESCE(k.current, 0) <> 0 AND r.at IS NOT NULL
        ON CONFLICT (meter_id, register) DO UPDATE SET last_day = EXCLUDED.last_day WHERE old.last_day < EXCLUDED.last_day
    ), neighbour AS MATERIALIZED (
        -- A minute beside the span that was computed before: its energy ends, or begins, at a boundary that may have moved.
        SELECT t.meter_id, a.bucket, t.gap_before AS gap,
               a.quality <> v_raw OR t.r1_first_at IS NOT NULL AND a.energy_import_start_wh IS NULL
               OR t.r2_first_at IS NOT NULL AND a.energy_export_start_wh IS NULL
               OR t.r3_first_at IS NOT NULL AND a.reactive_energy_import_start_varh IS NULL
               OR t.r4_first_at IS NOT NULL AND a.reactive_energy_export_start_varh IS NULL AS odd,
               t.r1_start - a.energy_import_start_wh AS energy_import_wh, a.energy_import_start_wh,
               t.r2_start - a.energy_export_start_wh AS energy_export_wh, a.energy_export_start_wh,
               t.r3_start - a.reactive_energy_import_start_varh AS reactive_energy_import_varh, a.reactive_energy_import_start_varh,
               t.r4_start - a.reactive_energy_export_start_varh AS reactive_energy_export_varh, a.reactive_energy_export_start_varh
        FROM told AS t
        JOIN aggregates_1m AS a ON a.meter_id = t.meter_id
        WHERE t.prior IS NULL AND t.before_at IS NOT NULL AND a.meter_id = ANY (p_meters) AND a.bucket >= v_before AND a.bucket < p_from
        UNION ALL
        SELECT t.meter_id, a.bucket, t.gap_after,
               a.quality <> v_raw OR t.r1_first_at IS NOT NULL AND (a.energy_import_wh IS NULL OR a.energy_import_start_wh IS NULL)
               OR t.r2_first_at IS NOT NULL AND (a.energy_export_wh IS NULL OR a.energy_export_start_wh IS NULL)
               OR t.r3_first_at IS NOT NULL AND (a.reactive_energy_import_varh IS NULL OR a.reactive_energy_import_start_varh IS NULL)
               OR t.r4_first_at IS NOT NULL AND (a.reactive_energy_export_varh IS NULL OR a.reactive_energy_export_start_varh IS NULL),
               a.energy_import_wh + a.energy_import_start_wh - t.r1_finish, CASE WHEN a.energy_import_start_wh IS NOT NULL THEN t.r1_finish END,
               a.energy_export_wh + a.energy_export_start_wh - t.r2_finish, CASE WHEN a.energy_export_start_wh IS NOT NULL THEN t.r2_finish END,
               a.reactive_energy_import_varh + a.reactive_energy_import_start_varh - t.r3_finish, CASE WHEN a.reactive_energy_import_start_varh IS NOT NULL THEN t.r3_finish END,
               a.reactive_energy_export_varh + a.reactive_energy_export_start_varh - t.r4_finish, CASE WHEN a.reactive_energy_export_start_varh IS NOT NULL THEN t.r4_finish END
        FROM told AS t
        JOIN aggregates_1m AS a ON a.meter_id = t.meter_id
        WHERE t.next IS NULL AND t.after_at IS NOT NULL AND a.meter_id = ANY (p_meters) AND a.bucket >= p_to AND a.bucket < v_after
    ), suspect AS MATERIALIZED (
        -- A register that has a minute without a read moves through it all the same.
        SELECT m.meter_id FROM meter AS m LEFT JOIN known AS k ON k.meter_id = m.meter_id
        WHERE m.doubtful OR (m.seen | COALESCE(k.registers, 0)) <> m.whole OR (m.seen <> 0 AND p_from < v_horizon + INTERVAL '1 day')
        UNION
        SELECT n.meter_id FROM neighbour AS n WHERE n.odd
        UNION
        SELECT e.meter_id FROM register_epochs AS e
        WHERE e.meter_id = ANY (p_meters) AND e.starts_at > v_reach_from AND e.starts_at < v_reach_to
        UNION
        -- An exchange that was taken back has left what it was noted as.
        SELECT e.meter_id FROM register_events AS e
        WHERE e.meter_id = ANY (p_meters) AND e.at >= p_from AND e.at < p_to AND e.kind = 'exchange'
    ), moved AS (
        UPDATE aggregates_1m AS a
        SET energy_import_wh = COALESCE(b.energy_import_wh, a.energy_import_wh), energy_import_start_wh = COALESCE(b.energy_import_start_wh, a.energy_import_start_wh),
            energy_export_wh = COALESCE(b.energy_export_wh, a.energy_export_wh), energy_export_start_wh = COALESCE(b.energy_export_start_wh, a.energy_export_start_wh),
            reactive_energy_import_varh = COALESCE(b.reactive_energy_import_varh, a.reactive_energy_import_varh), reactive_energy_import_start_varh = COALESCE(b.reactive_energy_import_start_varh, a.reactive_energy_import_start_varh),
            reactive_energy_export_varh = COALESCE(b.reactive_energy_export_varh, a.reactive_energy_export_varh), reactive_energy_export_start_varh = COALESCE(b.reactive_energy_export_start_varh, a.reactive_energy_export_start_varh),
            quality = CASE WHEN b.gap THEN v_interpolated ELSE a.quality END, computed_at = clock_timestamp()
        FROM neighbour AS b
        WHERE b.meter_id NOT IN (SELECT s.meter_id FROM suspect AS s)
          AND a.meter_id = b.meter_id AND a.bucket = b.bucket AND a.bucket >= v_before AND a.bucket < v_after
          -- Of a compressed chunk all is opened that constants do not exclude.
          AND a.meter_id = ANY (p_meters)
          AND (b.gap OR b.energy_import_wh <> a.energy_import_wh OR b.energy_import_start_wh <> a.energy_import_start_wh
               OR b.energy_export_wh <> a.energy_export_wh OR b.energy_export_start_wh <> a.energy_export_start_wh
               OR b.reactive_energy_import_varh <> a.reactive_energy_import_varh OR b.reactive_energy_import_start_varh <> a.reactive_energy_import_start_varh
               OR b.reactive_energy_export_varh <> a.reactive_energy_export_varh OR b.reactive_energy_export_start_varh <> a.reactive_energy_export_start_varh)
        RETURNING a.bucket
    ), written AS (
        INSERT INTO aggregates_1m AS old (
            meter_id, bucket, samples, coverage, quality,
            energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh,
            energy_import_start_wh, energy_export_start_wh, reactive_energy_import_start_varh,
            reactive_energy_export_start_varh, power_w_count, power_w_min, power_w_max, power_w_sum, voltage_l1_v_count,
            voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum, voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max,
            voltage_l2_v_sum, voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum, current_l1_a_count,
            current_l1_a_min, current_l1_a_max, current_l1_a_sum, current_l2_a_count, current_l2_a_min, current_l2_a_max,
            current_l2_a_sum, current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum, frequency_hz_count,
            frequency_hz_min, frequency_hz_max, frequency_hz_sum, power_factor_count, power_factor_min, power_factor_max,
            power_factor_sum
        )
        SELECT m.meter_id, m.bucket, m.samples, m.coverage, CASE WHEN s.meter_id IS NULL AND (m.gap_before OR m.gap_after) THEN v_interpolated ELSE v_raw END,
               CASE WHEN s.meter_id IS NULL THEN m.r1_finish - m.r1_start END,
               CASE WHEN s.meter_id IS NULL THEN m.r2_finish - m.r2_start END,
               CASE WHEN s.meter_id IS NULL THEN m.r3_finish - m.r3_start END,
               CASE WHEN s.meter_id IS NULL THEN m.r4_finish - m.r4_start END,
               CASE WHEN s.meter_id IS NULL THEN m.r1_start END, CASE WHEN s.meter_id IS NULL THEN m.r2_start END, CASE WHEN s.meter_id IS NULL THEN m.r3_start END, CASE WHEN s.meter_id IS NULL THEN m.r4_start END,
               m.power_w_count, m.power_w_min, m.power_w_max, m.power_w_sum,
               m.voltage_l1_v_count, m.voltage_l1_v_min, m.voltage_l1_v_max, m.voltage_l1_v_sum, m.voltage_l2_v_count,
               m.voltage_l2_v_min, m.voltage_l2_v_max, m.voltage_l2_v_sum, m.voltage_l3_v_count, m.voltage_l3_v_min,
               m.voltage_l3_v_max, m.voltage_l3_v_sum, m.current_l1_a_count, m.current_l1_a_min, m.current_l1_a_max,
               m.current_l1_a_sum, m.current_l2_a_count, m.current_l2_a_min, m.current_l2_a_max, m.current_l2_a_sum,
               m.current_l3_a_count, m.current_l3_a_min, m.current_l3_a_max, m.current_l3_a_sum, m.frequency_hz_count,
               m.frequency_hz_min, m.frequency_hz_max, m.frequency_hz_sum, m.power_factor_count, m.power_factor_min,
               m.power_factor_max, m.power_factor_sum
        FROM told AS m LEFT JOIN suspect AS s ON s.meter_id = m.meter_id
        ON CONFLICT (meter_id, bucket) DO UPDATE
        SET samples = EXCLUDED.samples, coverage = EXCLUDED.coverage,
            quality = CASE WHEN COALESCE(EXCLUDED.energy_import_start_wh, EXCLUDED.energy_export_start_wh, EXCLUDED.reactive_energy_import_start_varh, EXCLUDED.reactive_energy_export_start_varh) IS NULL
                           THEN old.quality ELSE EXCLUDED.quality END,
            energy_import_wh = COALESCE(EXCLUDED.energy_import_wh, old.energy_import_wh),
            energy_export_wh = COALESCE(EXCLUDED.energy_export_wh, old.energy_export_wh),
            reactive_energy_import_varh = COALESCE(EXCLUDED.reactive_energy_import_varh, old.reactive_energy_import_varh),
            reactive_energy_export_varh = COALESCE(EXCLUDED.reactive_energy_export_varh, old.reactive_energy_export_varh),
            energy_import_start_wh = COALESCE(EXCLUDED.energy_import_start_wh, old.energy_import_start_wh),
            energy_export_start_wh = COALESCE(EXCLUDED.energy_export_start_wh, old.energy_export_start_wh),
            reactive_energy_import_start_varh = COALESCE(EXCLUDED.reactive_energy_import_start_varh, old.reactive_energy_import_start_varh),
            reactive_energy_export_start_varh = COALESCE(EXCLUDED.reactive_energy_export_start_varh, old.reactive_energy_export_start_varh),
            power_w_count = EXCLUDED.power_w_count, power_w_min = EXCLUDED.power_w_min, power_w_max = EXCLUDED.power_w_max,
            power_w_sum = EXCLUDED.power_w_sum, voltage_l1_v_count = EXCLUDED.voltage_l1_v_count,
            voltage_l1_v_min = EXCLUDED.voltage_l1_v_min, voltage_l1_v_max = EXCLUDED.voltage_l1_v_max,
            voltage_l1_v_sum = EXCLUDED.voltage_l1_v_sum, voltage_l2_v_count = EXCLUDED.voltage_l2_v_count,
            voltage_l2_v_min = EXCLUDED.voltage_l2_v_min, voltage_l2_v_max = EXCLUDED.voltage_l2_v_max,
            voltage_l2_v_sum = EXCLUDED.voltage_l2_v_sum, voltage_l3_v_count = EXCLUDED.voltage_l3_v_count,
            voltage_l3_v_min = EXCLUDED.voltage_l3_v_min, voltage_l3_v_max = EXCLUDED.voltage_l3_v_max,
            voltage_l3_v_sum = EXCLUDED.voltage_l3_v_sum, current_l1_a_count = EXCLUDED.current_l1_a_count,
            current_l1_a_min = EXCLUDED.current_l1_a_min, current_l1_a_max = EXCLUDED.current_l1_a_max,
            current_l1_a_sum = EXCLUDED.current_l1_a_sum, current_l2_a_count = EXCLUDED.current_l2_a_count,
            current_l2_a_min = EXCLUDED.current_l2_a_min, current_l2_a_max = EXCLUDED.current_l2_a_max,
            current_l2_a_sum = EXCLUDED.current_l2_a_sum, current_l3_a_count = EXCLUDED.current_l3_a_count,
            current_l3_a_min = EXCLUDED.current_l3_a_min, current_l3_a_max = EXCLUDED.current_l3_a_max,
            current_l3_a_sum = EXCLUDED.current_l3_a_sum, frequency_hz_count = EXCLUDED.frequency_hz_count,
            frequency_hz_min = EXCLUDED.frequency_hz_min, frequency_hz_max = EXCLUDED.frequency_hz_max,
            frequency_hz_sum = EXCLUDED.frequency_hz_sum, power_factor_count = EXCLUDED.power_factor_count,
            power_factor_min = EXCLUDED.power_factor_min, power_factor_max = EXCLUDED.power_factor_max,
            power_factor_sum = EXCLUDED.power_factor_sum,
            computed_at = EXCLUDED.computed_at
        -- Raw readings before the horizon may be gone: what is left of a minute never replaces what was computed of all of it.
        WHERE old.bucket >= v_horizon OR EXCLUDED.samples > old.samples
        RETURNING old.bucket
    )
    SELECT (SELECT count(*) FROM written), (SELECT array_agg(s.meter_id) FROM suspect AS s),
           least((SELECT min(w.bucket) FROM written AS w), (SELECT min(v.bucket) FROM moved AS v)),
           greatest((SELECT max(w.bucket) FROM written AS w), (SELECT max(v.bucket) FROM moved AS v)) + v_minute
    INTO minutes, suspects, touched_from, touched_to;
END
$$;
COMMENT ON FUNCTION summarise_minutes(integer[], timestamptz, timestamptz, timestamptz) IS
    'Computes aggregates_1m from raw_readings for the meters and whole minutes given. Returns the minutes written, the span of those whose rows changed, neighbours included, and the meters whose energy is left to book_energy';
GRANT EXECUTE ON FUNCTION summarise_minutes(integer[], timestamptz, timestamptz, timestamptz) TO segs_worker;
