-- Quarter-hours from minutes, by the additive rule: counts and sums add, minima and maxima compare, the worst quality stays.

CREATE OR REPLACE FUNCTION summarise_quarters(
    p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_horizon CONSTANT timestamptz := retention_horizon('aggregates_1m', p_now);
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t);
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t);
    v_written integer;
BEGIN
    INSERT INTO aggregates_15m AS old (
        meter_id, bucket, samples, coverage, quality,
        energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh,
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
    SELECT span.meter_id, quarter.*
    FROM unnest(p_meters, p_from, p_to) AS span (meter_id, lo, hi)
    CROSS JOIN LATERAL (
        SELECT time_bucket(INTERVAL '15 minutes', m.bucket) AS bucket, sum(m.samples)::integer AS samples,
               (sum(m.coverage::double precision) / 15)::real AS coverage, quality_of_rank(max(quality_rank(m.quality))) AS quality,
               sum(m.energy_import_wh)::bigint AS energy_import_wh,
               sum(m.energy_export_wh)::bigint AS energy_export_wh,
               sum(m.reactive_energy_import_varh)::bigint AS reactive_energy_import_varh,
               sum(m.reactive_energy_export_varh)::bigint AS reactive_energy_export_varh,
               sum(m.power_w_count)::integer AS power_w_count, min(m.power_w_min) AS power_w_min, max(m.power_w_max) AS power_w_max,
               sum(m.power_w_sum) AS power_w_sum,
               sum(m.voltage_l1_v_count)::integer AS voltage_l1_v_count, min(m.voltage_l1_v_min) AS voltage_l1_v_min, max(m.voltage_l1_v_max) AS voltage_l1_v_max,
               sum(m.voltage_l1_v_sum) AS voltage_l1_v_sum,
               sum(m.voltage_l2_v_count)::integer AS voltage_l2_v_count, min(m.voltage_l2_v_min) AS voltage_l2_v_min, max(m.voltage_l2_v_max) AS voltage_l2_v_max,
               sum(m.voltage_l2_v_sum) AS voltage_l2_v_sum,
               sum(m.voltage_l3_v_count)::integer AS voltage_l3_v_count, min(m.voltage_l3_v_min) AS voltage_l3_v_min, max(m.voltage_l3_v_max) AS voltage_l3_v_max,
               sum(m.voltage_l3_v_sum) AS voltage_l3_v_sum,
               sum(m.current_l1_a_count)::integer AS current_l1_a_count, min(m.current_l1_a_min) AS current_l1_a_min, max(m.current_l1_a_max) AS current_l1_a_max,
               sum(m.current_l1_a_sum) AS current_l1_a_sum,
               sum(m.current_l2_a_count)::integer AS current_l2_a_count, min(m.current_l2_a_min) AS current_l2_a_min, max(m.current_l2_a_max) AS current_l2_a_max,
               sum(m.current_l2_a_sum) AS current_l2_a_sum,
               sum(m.current_l3_a_count)::integer AS current_l3_a_count, min(m.current_l3_a_min) AS current_l3_a_min, max(m.current_l3_a_max) AS current_l3_a_max,
               sum(m.current_l3_a_sum) AS current_l3_a_sum,
               sum(m.frequency_hz_count)::integer AS frequency_hz_count, min(m.frequency_hz_min) AS frequency_hz_min, max(m.frequency_hz_max) AS frequency_hz_max,
               sum(m.frequency_hz_sum) AS frequency_hz_sum,
               sum(m.power_factor_count)::integer AS power_factor_count, min(m.power_factor_min) AS power_factor_min, max(m.power_factor_max) AS power_factor_max,
               sum(m.power_factor_sum) AS power_factor_sum
        FROM aggregates_1m AS m
        WHERE m.meter_id = span.meter_id AND m.bucket >= span.lo AND m.bucket < span.hi
          AND m.bucket >= v_first AND m.bucket < v_last
        GROUP BY 1
    ) AS quarter
    ON CONFLICT (meter_id, bucket) DO UPDATE
    SET samples = EXCLUDED.samples, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        energy_import_wh = EXCLUDED.energy_import_wh, energy_export_wh = EXCLUDED.energy_export_wh,
        reactive_energy_import_varh = EXCLUDED.reactive_energy_import_varh,
        reactive_energy_export_varh = EXCLUDED.reactive_energy_export_varh,
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
    -- Minutes before the horizon may be gone: what is left of a quarter-hour never replaces what was computed of all of it.
    WHERE old.bucket >= v_horizon OR EXCLUDED.samples > old.samples;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION summarise_quarters(integer[], timestamptz[], timestamptz[], timestamptz) IS
    'Computes aggregates_15m from aggregates_1m for the given spans (whole quarter-hours, disjoint per meter); returns the quarter-hours written';
GRANT EXECUTE ON FUNCTION summarise_quarters(integer[], timestamptz[], timestamptz[], timestamptz) TO segs_worker;
