-- Minutes from readings: one pass over the spans in the order of the index, so that sums come out the same every time.
-- Energy is booked afterwards, by book_energy.

CREATE OR REPLACE FUNCTION summarise_minutes(
    p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_horizon CONSTANT timestamptz := retention_horizon('raw_readings', p_now);
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t);
    v_written integer;
BEGIN
    WITH device AS MATERIALIZED (
        SELECT d.meter_id, d.valid, d.interval_ms, d.max_power_w FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), minute AS MATERIALIZED (
        SELECT span.meter_id, raw.bucket, d.interval_ms, d.max_power_w, raw.samples,
               r1_first_at, r1_first, r1_last_at, r1_last, r1_min, r1_max,
               r2_first_at, r2_first, r2_last_at, r2_last, r2_min, r2_max,
               r3_first_at, r3_first, r3_last_at, r3_last, r3_min, r3_max,
               r4_first_at, r4_first, r4_last_at, r4_last, r4_min, r4_max,
               power_w_count, power_w_min, power_w_max, power_w_sum,
               voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
               voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
               voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
               current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
               current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
               current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
               frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
               power_factor_count, power_factor_min, power_factor_max, power_factor_sum
        FROM unnest(p_meters, p_from, p_to) AS span (meter_id, lo, hi)
        CROSS JOIN LATERAL (
            SELECT time_bucket(INTERVAL '1 minute', r.time) AS bucket, count(*)::integer AS samples,
                   min(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_first_at,
                   first(r.energy_import_wh, r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_first,
                   max(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_last_at,
                   last(r.energy_import_wh, r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_last,
                   min(r.energy_import_wh) AS r1_min, max(r.energy_import_wh) AS r1_max,
                   min(r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_first_at,
                   first(r.energy_export_wh, r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_first,
                   max(r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_last_at,
                   last(r.energy_export_wh, r.time) FILTER (WHERE r.energy_export_wh IS NOT NULL) AS r2_last,
                   min(r.energy_export_wh) AS r2_min, max(r.energy_export_wh) AS r2_max,
                   min(r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_first_at,
                   first(r.reactive_energy_import_varh, r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_first,
                   max(r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_last_at,
                   last(r.reactive_energy_import_varh, r.time) FILTER (WHERE r.reactive_energy_import_varh IS NOT NULL) AS r3_last,
                   min(r.reactive_energy_import_varh) AS r3_min, max(r.reactive_energy_import_varh) AS r3_max,
                   min(r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_first_at,
                   first(r.reactive_energy_export_varh, r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_first,
                   max(r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_last_at,
                   last(r.reactive_energy_export_varh, r.time) FILTER (WHERE r.reactive_energy_export_varh IS NOT NULL) AS r4_last,
                   min(r.reactive_energy_export_varh) AS r4_min, max(r.reactive_energy_export_varh) AS r4_max,
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
            FROM raw_readings AS r
            WHERE r.meter_id = span.meter_id AND r.time >= span.lo AND r.time < span.hi
              AND r.time >= v_first AND r.time < v_last
            GROUP BY 1
        ) AS raw
        LEFT JOIN device AS d ON d.meter_id = span.meter_id AND d.valid @> raw.bucket
    ), registers AS (
        INSERT INTO register_minutes AS old (meter_id, register, bucket, first_at, first_value, last_at, last_value, odd)
        SELECT m.meter_id, k.register, m.bucket, k.first_at, k.first_value, k.last_at, k.last_value,
               k.lowest <> k.first_value OR k.highest <> k.last_value
               OR k.last_value - k.first_value > register_allowance(COALESCE(m.max_power_w, 1e6), k.first_at, k.last_at)
        FROM minute AS m
        CROSS JOIN LATERAL (VALUES
            (1::smallint, m.r1_first_at, m.r1_first, m.r1_last_at, m.r1_last, m.r1_min, m.r1_max),
            (2::smallint, m.r2_first_at, m.r2_first, m.r2_last_at, m.r2_last, m.r2_min, m.r2_max),
            (3::smallint, m.r3_first_at, m.r3_first, m.r3_last_at, m.r3_last, m.r3_min, m.r3_max),
            (4::smallint, m.r4_first_at, m.r4_first, m.r4_last_at, m.r4_last, m.r4_min, m.r4_max)
        ) AS k (register, first_at, first_value, last_at, last_value, lowest, highest)
        WHERE k.first_at IS NOT NULL
        ON CONFLICT (meter_id, register, bucket) DO UPDATE
        SET first_at = EXCLUDED.first_at, first_value = EXCLUDED.first_value,
            last_at = EXCLUDED.last_at, last_value = EXCLUDED.last_value, odd = EXCLUDED.odd
        WHERE (old.first_at, old.first_value, old.last_at, old.last_value, old.odd)
              IS DISTINCT FROM (EXCLUDED.first_at, EXCLUDED.first_value, EXCLUDED.last_at, EXCLUDED.last_value, EXCLUDED.odd)
          AND (old.bucket >= v_horizon OR (EXCLUDED.first_at <= old.first_at AND EXCLUDED.last_at >= old.last_at))
    )
    INSERT INTO aggregates_1m AS old (
        meter_id, bucket, samples, coverage, quality,
        power_w_count, power_w_min, power_w_max, power_w_sum,
        voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
        voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
        voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
        current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
        current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
        current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
        frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
        power_factor_count, power_factor_min, power_factor_max, power_factor_sum
    )
    SELECT m.meter_id, m.bucket, m.samples, least(100, COALESCE(m.samples * (m.interval_ms / 600.0), 0)), 14,
           power_w_count, power_w_min, power_w_max, power_w_sum,
           voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
           voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum,
           voltage_l3_v_count, voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum,
           current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
           current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum,
           current_l3_a_count, current_l3_a_min, current_l3_a_max, current_l3_a_sum,
           frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
           power_factor_count, power_factor_min, power_factor_max, power_factor_sum
    FROM minute AS m
    ON CONFLICT (meter_id, bucket) DO UPDATE
    SET samples = EXCLUDED.samples, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        power_w_count = EXCLUDED.power_w_count, power_w_min = EXCLUDED.power_w_min,
        power_w_max = EXCLUDED.power_w_max, power_w_sum = EXCLUDED.power_w_sum,
        voltage_l1_v_count = EXCLUDED.voltage_l1_v_count, voltage_l1_v_min = EXCLUDED.voltage_l1_v_min,
        voltage_l1_v_max = EXCLUDED.voltage_l1_v_max, voltage_l1_v_sum = EXCLUDED.voltage_l1_v_sum,
        voltage_l2_v_count = EXCLUDED.voltage_l2_v_count, voltage_l2_v_min = EXCLUDED.voltage_l2_v_min,
        voltage_l2_v_max = EXCLUDED.voltage_l2_v_max, voltage_l2_v_sum = EXCLUDED.voltage_l2_v_sum,
        voltage_l3_v_count = EXCLUDED.voltage_l3_v_count, voltage_l3_v_min = EXCLUDED.voltage_l3_v_min,
        voltage_l3_v_max = EXCLUDED.voltage_l3_v_max, voltage_l3_v_sum = EXCLUDED.voltage_l3_v_sum,
        current_l1_a_count = EXCLUDED.current_l1_a_count, current_l1_a_min = EXCLUDED.current_l1_a_min,
        current_l1_a_max = EXCLUDED.current_l1_a_max, current_l1_a_sum = EXCLUDED.current_l1_a_sum,
        current_l2_a_count = EXCLUDED.current_l2_a_count, current_l2_a_min = EXCLUDED.current_l2_a_min,
        current_l2_a_max = EXCLUDED.current_l2_a_max, current_l2_a_sum = EXCLUDED.current_l2_a_sum,
        current_l3_a_count = EXCLUDED.current_l3_a_count, current_l3_a_min = EXCLUDED.current_l3_a_min,
        current_l3_a_max = EXCLUDED.current_l3_a_max, current_l3_a_sum = EXCLUDED.current_l3_a_sum,
        frequency_hz_count = EXCLUDED.frequency_hz_count, frequency_hz_min = EXCLUDED.frequency_hz_min,
        frequency_hz_max = EXCLUDED.frequency_hz_max, frequency_hz_sum = EXCLUDED.frequency_hz_sum,
        power_factor_count = EXCLUDED.power_factor_count, power_factor_min = EXCLUDED.power_factor_min,
        power_factor_max = EXCLUDED.power_factor_max, power_factor_sum = EXCLUDED.power_factor_sum,
        computed_at = EXCLUDED.computed_at
    -- Raw readings before the horizon may be gone: what is left of a minute never replaces what was computed of all of it.
    WHERE old.bucket >= v_horizon OR EXCLUDED.samples > old.samples;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION summarise_minutes(integer[], timestamptz[], timestamptz[], timestamptz) IS
    'Computes aggregates_1m, but for its energy, and register_minutes from raw_readings for the given spans (whole minutes, disjoint per meter); returns the minutes written';
GRANT EXECUTE ON FUNCTION summarise_minutes(integer[], timestamptz[], timestamptz[], timestamptz) TO segs_worker;
