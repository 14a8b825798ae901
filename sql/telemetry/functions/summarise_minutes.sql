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
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_minute CONSTANT interval := INTERVAL '1 minute';
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    -- How far apart two reads may be and still have energy between them.
    v_reach_from CONSTANT timestamptz := p_from - INTERVAL '7 days';
    v_reach_to CONSTANT timestamptz := p_to + INTERVAL '7 days';
    v_before CONSTANT timestamptz := p_from - v_minute;
    v_after CONSTANT timestamptz := p_to + v_minute;
BEGIN
    WITH device AS MATERIALIZED (
        SELECT d.meter_id, d.valid, d.interval_ms, d.max_power_w FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), summary AS MATERIALIZED (
        SELECT r.meter_id, time_bucket(v_minute, r.time) AS bucket, count(*)::integer AS samples, min(r.apart) AS apart,
               min(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_first_at,
               first(r.energy_import_wh, r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_first,
               max(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_last_at,
               last(r.energy_import_wh, r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_last,
               min(r.energy_import_wh - r.r1_before) AS r1_least, max(r.energy_import_wh - r.r1_before) AS r1_most,
               min(r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_first_at,
               first(r.energy_export_wh, r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_first,
               max(r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_last_at,
               last(r.energy_export_wh, r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_last,
               min(r.energy_export_wh - r.r2_before) AS r2_least, max(r.energy_export_wh - r.r2_before) AS r2_most,
               min(r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_first_at,
               first(r.reactive_energy_import_varh, r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_first,
               max(r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_last_at,
               last(r.reactive_energy_import_varh, r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_last,
               min(r.reactive_energy_import_varh - r.r3_before) AS r3_least, max(r.reactive_energy_import_varh - r.r3_before) AS r3_most,
               min(r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_first_at,
               first(r.reactive_energy_export_varh, r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_first,
               max(r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_last_at,
               last(r.reactive_energy_export_varh, r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_last,
               min(r.reactive_energy_export_varh - r.r4_before) AS r4_least, max(r.reactive_energy_export_varh - r.r4_before) AS r4_most,
               count(r.power_w)::integer AS power_w_count, min(r.power_w) AS power_w_min, max(r.power_w) AS power_w_max,
               sum(r.power_w::double precision) AS power_w_sum,
               count(r.voltage_l1_v)::integer AS voltage_l1_v_count, min(r.voltage_l1_v) AS voltage_l1_v_min, max(r.voltage_l1_v) AS voltage_l1_v_max,
               sum(r.voltage_l1_v::double precision) AS voltage_l1_v_sum,
               count(r.voltage_l2_v)::integer AS voltage_l2_v_count, min(r.voltage_l2_v) AS voltage_l2_v_min, max(r.voltage_l2_v) AS voltage_l2_v_max,
               sum(r.voltage_l2_v::double precision) AS voltage_l2_v_sum,
               count(r.voltage_l3_v)::integer AS voltage_l3_v_count, min(r.voltage_l3_v) AS voltage_l3_v_min, max(r.voltage_l3_v) AS voltage_l3_v_max,
               sum(r.voltage_l3_v::double precision) AS voltage_l3_v_sum,
               count(r.current_l1_a)::integer AS current_l1_a_count, min(r.current_l1_a) AS current_l1_a_min, max(r.current_l1_a) AS current_l1_a_max,
               sum(r.current_l1_a::double precision) AS current_l1_a_sum,
               count(r.current_l2_a)::integer AS current_l2_a_count, min(r.current_l2_a) AS current_l2_a_min, max(r.current_l2_a) AS current_l2_a_max,
               sum(r.current_l2_a::double precision) AS current_l2_a_sum,
               count(r.current_l3_a)::integer AS current_l3_a_count, min(r.current_l3_a) AS current_l3_a_min, max(r.current_l3_a) AS current_l3_a_max,
               sum(r.current_l3_a::double precision) AS current_l3_a_sum,
               count(r.frequency_hz)::integer AS frequency_hz_count, min(r.frequency_hz) AS frequency_hz_min, max(r.frequency_hz) AS frequency_hz_max,
               sum(r.frequency_hz::double precision) AS frequency_hz_sum,
               count(r.power_factor)::integer AS power_factor_count, min(r.power_factor) AS power_factor_min, max(r.power_factor) AS power_factor_max,
               sum(r.power_factor::double precision) AS power_factor_sum
        FROM (
            -- While a register only grows, its highest value so far is the read before.
            SELECT w.*, w.time - lag(w.time) OVER so_far AS apart,
                   max(w.energy_import_wh) OVER so_far AS r1_before, max(w.energy_export_wh) OVER so_far AS r2_before,
                   max(w.reactive_energy_import_varh) OVER so_far AS r3_before, max(w.reactive_energy_export_varh) OVER so_far AS r4_before
            FROM raw_readings AS w
            WHERE w.meter_id = ANY (p_meters) AND w.time >= p_from AND w.time < p_to
            WINDOW so_far AS (PARTITION BY w.meter_id ORDER BY w.time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) AS r
        GROUP BY 1, 2
    ), minute AS MATERIALIZED (
        SELECT s.*, COALESCE(d.interval_ms, 60000) AS interval_ms, COALESCE(d.max_power_w, 1e6) AS max_power_w,
               least(100, COALESCE(s.samples * (d.interval_ms / 600.0), 0))::real AS coverage
        FROM summary AS s LEFT JOIN device AS d ON d.meter_id = s.meter_id AND d.valid @> s.bucket
    ), read AS (
        SELECT m.meter_id, k.register, m.bucket, m.interval_ms, m.max_power_w, k.first_at, k.first, k.last_at, k.last,
               COALESCE(k.least < 0 OR k.most > register_allowance(m.max_power_w, m.bucket, m.bucket + m.apart), false) AS odd
        FROM minute AS m
        CROSS JOIN LATERAL (VALUES
            (1::smallint, m.r1_first_at, m.r1_first, m.r1_last_at, m.r1_last, m.r1_least, m.r1_most),
            (2::smallint, m.r2_first_at, m.r2_first, m.r2_last_at, m.r2_last, m.r2_least, m.r2_most),
            (3::smallint, m.r3_first_at, m.r3_first, m.r3_last_at, m.r3_last, m.r3_least, m.r3_most),
            (4::smallint, m.r4_first_at, m.r4_first, m.r4_last_at, m.r4_last, m.r4_least, m.r4_most)
        ) AS k (register, first_at, first, last_at, last, least, most)
        WHERE k.first_at IS NOT NULL
    ), chained AS MATERIALIZED (
        SELECT r.*, lag(r.bucket) OVER w AS from_bucket, lag(r.last_at) OVER w AS from_at, lag(r.last) OVER w AS from_value,
               lead(r.bucket) OVER w AS to_bucket, lead(r.first_at) OVER w AS to_at, lead(r.first) OVER w AS to_value
        FROM read AS r
        WINDOW w AS (PARTITION BY r.meter_id, r.register ORDER BY r.bucket)
    ), linked AS MATERIALIZED (
        SELECT c.meter_id, c.register, c.bucket, c.interval_ms, c.max_power_w, c.first_at, c.first, c.last_at, c.last, c.odd,
               COALESCE(c.from_bucket, time_bucket(v_minute, before.at)) AS from_bucket,
               COALESCE(c.from_at, before.at) AS from_at, COALESCE(c.from_value, before.value) AS from_value,
               COALESCE(c.to_bucket, time_bucket(v_minute, after.at)) AS to_bucket,
               COALESCE(c.to_at, after.at) AS to_at, COALESCE(c.to_value, after.value) AS to_value
        FROM chained AS c
        LEFT JOIN LATERAL (
            SELECT n.time AS at, n.value
            FROM (SELECT w.time, CASE c.register WHEN 1 THEN w.energy_import_wh WHEN 2 THEN w.energy_export_wh
                  WHEN 3 THEN w.reactive_energy_import_varh ELSE w.reactive_energy_export_varh END AS value
                  FROM raw_readings AS w
                  WHERE w.meter_id = c.meter_id AND w.time < p_from AND w.time >= v_reach_from) AS n
            WHERE n.value IS NOT NULL ORDER BY n.time DESC LIMIT 1
        ) AS before ON c.from_bucket IS NULL
        LEFT JOIN LATERAL (
            SELECT n.time AS at, n.value
            FROM (SELECT w.time, CASE c.register WHEN 1 THEN w.energy_import_wh WHEN 2 THEN w.energy_export_wh
                  WHEN 3 THEN w.reactive_energy_import_varh ELSE w.reactive_energy_export_varh END AS value
                  FROM raw_readings AS w
                  WHERE w.meter_id = c.meter_id AND w.time >= p_to AND w.time < v_reach_to) AS n
            WHERE n.value IS NOT NULL ORDER BY n.time LIMIT 1
        ) AS after ON c.to_bucket IS NULL
    ), told AS MATERIALIZED (
        SELECT l.*,
               CASE WHEN l.from_at IS NULL THEN l.first
                    ELSE l.from_value + register_share(l.first - l.from_value, l.from_at, l.bucket, l.first_at) END AS start,
               CASE WHEN l.to_at IS NULL THEN l.last
                    ELSE l.last + register_share(l.to_value - l.last, l.last_at, l.bucket + v_minute, l.to_at) END AS finish,
               l.first_at - l.from_at > l.interval_ms * INTERVAL '1.5 milliseconds' AND l.first_at > l.bucket AS gap_before,
               l.to_at - l.last_at > l.interval_ms * INTERVAL '1.5 milliseconds' AND l.to_at > l.bucket + v_minute AS gap_after,
               l.odd OR l.from_bucket < l.bucket - v_minute OR l.to_bucket > l.bucket + v_minute
               OR l.first - l.from_value NOT BETWEEN 0 AND register_allowance(l.max_power_w, l.from_at, l.first_at)
               OR l.to_value - l.last NOT BETWEEN 0 AND register_allowance(l.max_power_w, l.last_at, l.to_at) AS doubtful
        FROM linked AS l
    ), neighbour AS MATERIALIZED (
        -- A minute beside the span that was computed before: its energy ends, or begins, at a boundary that may have moved.
        SELECT t.meter_id, t.register, a.bucket, a.quality, t.gap_before AS gap, t.start - b.start AS energy, b.start
        FROM told AS t
        JOIN aggregates_1m AS a ON a.meter_id = t.meter_id
        CROSS JOIN LATERAL (VALUES (CASE t.register WHEN 1 THEN a.energy_import_start_wh WHEN 2 THEN a.energy_export_start_wh
            WHEN 3 THEN a.reactive_energy_import_start_varh ELSE a.reactive_energy_export_start_varh END)) AS b (start)
        WHERE t.from_bucket < p_from AND a.meter_id = ANY (p_meters) AND a.bucket >= v_before AND a.bucket < p_from
        UNION ALL
        SELECT t.meter_id, t.register, a.bucket, a.quality, t.gap_after, b.energy + b.start - t.finish, CASE WHEN b.start IS NOT NULL THEN t.finish END
        FROM told AS t
        JOIN aggregates_1m AS a ON a.meter_id = t.meter_id
        CROSS JOIN LATERAL (SELECT * FROM (VALUES
            (1, a.energy_import_wh, a.energy_import_start_wh), (2, a.energy_export_wh, a.energy_export_start_wh),
            (3, a.reactive_energy_import_varh, a.reactive_energy_import_start_varh),
            (4, a.reactive_energy_export_varh, a.reactive_energy_export_start_varh)) AS v (register, energy, start)
            WHERE v.register = t.register) AS b
        WHERE t.to_bucket >= p_to AND a.meter_id = ANY (p_meters) AND a.bucket >= p_to AND a.bucket < v_after
    ), seen AS MATERIALIZED (
        SELECT r.meter_id, r.register, max(time_bucket(INTERVAL '1 day', r.last_at)) AS day FROM told AS r GROUP BY 1, 2
    ), known AS MATERIALIZED (
        SELECT k.meter_id, k.register, k.last_day FROM meter_registers AS k
        WHERE k.meter_id = ANY (p_meters) AND k.last_day >= p_from - INTERVAL '8 days'
    ), remembered AS (
        INSERT INTO meter_registers AS old (meter_id, register, last_day)
        SELECT s.meter_id, s.register, s.day
        FROM seen AS s LEFT JOIN known AS k ON k.meter_id = s.meter_id AND k.register = s.register
        WHERE s.day > COALESCE(k.last_day, '-infinity')
        ON CONFLICT (meter_id, register) DO UPDATE SET last_day = EXCLUDED.last_day WHERE old.last_day < EXCLUDED.last_day
    ), incomplete AS (
        -- A register that has a minute without a read moves through it all the same.
        SELECT m.meter_id
        FROM (SELECT n.meter_id, count(*) AS minutes FROM minute AS n GROUP BY 1) AS m
        LEFT JOIN (SELECT t.meter_id, count(*) AS reads FROM told AS t GROUP BY 1) AS r ON r.meter_id = m.meter_id
        LEFT JOIN (SELECT e.meter_id, count(*) AS registers
                   FROM (SELECT s.meter_id, s.register FROM seen AS s UNION SELECT k.meter_id, k.register FROM known AS k) AS e
                   GROUP BY 1) AS h ON h.meter_id = m.meter_id
        WHERE m.minutes * COALESCE(h.registers, 0) <> COALESCE(r.reads, 0)
    ), suspect AS MATERIALIZED (
        SELECT i.meter_id FROM incomplete AS i
        UNION
        SELECT t.meter_id FROM told AS t WHERE t.doubtful OR p_from < v_horizon + INTERVAL '1 day'
        UNION
        SELECT n.meter_id FROM neighbour AS n WHERE n.quality <> 14 OR n.energy IS NULL OR n.start IS NULL
        UNION
        SELECT e.meter_id FROM register_epochs AS e
        WHERE e.meter_id = ANY (p_meters) AND e.starts_at > v_reach_from AND e.starts_at < v_reach_to
        UNION
        -- An exchange that was taken back has left what it was noted as.
        SELECT e.meter_id FROM register_events AS e
        WHERE e.meter_id = ANY (p_meters) AND e.at >= p_from AND e.at < p_to AND e.kind = 'exchange'
    ), booked AS (
        SELECT t.meter_id, t.bucket, bool_or(t.gap_before OR t.gap_after) AS gap,
               sum(t.finish - t.start) FILTER (WHERE t.register = 1)::bigint AS energy_import_wh, min(t.start) FILTER (WHERE t.register = 1) AS energy_import_start_wh,
               sum(t.finish - t.start) FILTER (WHERE t.register = 2)::bigint AS energy_export_wh, min(t.start) FILTER (WHERE t.register = 2) AS energy_export_start_wh,
               sum(t.finish - t.start) FILTER (WHERE t.register = 3)::bigint AS reactive_energy_import_varh, min(t.start) FILTER (WHERE t.register = 3) AS reactive_energy_import_start_varh,
               sum(t.finish - t.start) FILTER (WHERE t.register = 4)::bigint AS reactive_energy_export_varh, min(t.start) FILTER (WHERE t.register = 4) AS reactive_energy_export_start_varh
        FROM told AS t
        WHERE t.meter_id NOT IN (SELECT s.meter_id FROM suspect AS s)
        GROUP BY t.meter_id, t.bucket
    ), beside AS (
        SELECT n.meter_id, n.bucket, bool_or(n.gap) AS gap,
               min(n.energy) FILTER (WHERE n.register = 1) AS energy_import_wh, min(n.start) FILTER (WHERE n.register = 1) AS energy_import_start_wh,
               min(n.energy) FILTER (WHERE n.register = 2) AS energy_export_wh, min(n.start) FILTER (WHERE n.register = 2) AS energy_export_start_wh,
               min(n.energy) FILTER (WHERE n.register = 3) AS reactive_energy_import_varh, min(n.start) FILTER (WHERE n.register = 3) AS reactive_energy_import_start_varh,
               min(n.energy) FILTER (WHERE n.register = 4) AS reactive_energy_export_varh, min(n.start) FILTER (WHERE n.register = 4) AS reactive_energy_export_start_varh
        FROM neighbour AS n
        WHERE n.meter_id NOT IN (SELECT s.meter_id FROM suspect AS s)
        GROUP BY n.meter_id, n.bucket
    ), moved AS (
        UPDATE aggregates_1m AS a
        SET energy_import_wh = COALESCE(b.energy_import_wh, a.energy_import_wh), energy_import_start_wh = COALESCE(b.energy_import_start_wh, a.energy_import_start_wh),
            energy_export_wh = COALESCE(b.energy_export_wh, a.energy_export_wh), energy_export_start_wh = COALESCE(b.energy_export_start_wh, a.energy_export_start_wh),
            reactive_energy_import_varh = COALESCE(b.reactive_energy_import_varh, a.reactive_energy_import_varh), reactive_energy_import_start_varh = COALESCE(b.reactive_energy_import_start_varh, a.reactive_energy_import_start_varh),
            reactive_energy_export_varh = COALESCE(b.reactive_energy_export_varh, a.reactive_energy_export_varh), reactive_energy_export_start_varh = COALESCE(b.reactive_energy_export_start_varh, a.reactive_energy_export_start_varh),
            quality = CASE WHEN b.gap THEN 9 ELSE a.quality END, computed_at = clock_timestamp()
        FROM beside AS b
        WHERE a.meter_id = b.meter_id AND a.bucket = b.bucket AND a.bucket >= v_before AND a.bucket < v_after
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
        SELECT m.meter_id, m.bucket, m.samples, m.coverage, CASE WHEN b.gap THEN 9 ELSE 14 END,
               b.energy_import_wh, b.energy_export_wh, b.reactive_energy_import_varh, b.reactive_energy_export_varh,
               b.energy_import_start_wh, b.energy_export_start_wh, b.reactive_energy_import_start_varh,
               b.reactive_energy_export_start_varh, m.power_w_count, m.power_w_min, m.power_w_max, m.power_w_sum,
               m.voltage_l1_v_count, m.voltage_l1_v_min, m.voltage_l1_v_max, m.voltage_l1_v_sum, m.voltage_l2_v_count,
               m.voltage_l2_v_min, m.voltage_l2_v_max, m.voltage_l2_v_sum, m.voltage_l3_v_count, m.voltage_l3_v_min,
               m.voltage_l3_v_max, m.voltage_l3_v_sum, m.current_l1_a_count, m.current_l1_a_min, m.current_l1_a_max,
               m.current_l1_a_sum, m.current_l2_a_count, m.current_l2_a_min, m.current_l2_a_max, m.current_l2_a_sum,
               m.current_l3_a_count, m.current_l3_a_min, m.current_l3_a_max, m.current_l3_a_sum, m.frequency_hz_count,
               m.frequency_hz_min, m.frequency_hz_max, m.frequency_hz_sum, m.power_factor_count, m.power_factor_min,
               m.power_factor_max, m.power_factor_sum
        FROM minute AS m LEFT JOIN booked AS b ON b.meter_id = m.meter_id AND b.bucket = m.bucket
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
