-- Quarter-hours from minutes. A row's version counts up when its energy or its quality changes.

CREATE OR REPLACE FUNCTION summarise_quarters(p_meters integer[], p_from timestamptz, p_to timestamptz, p_now timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET enable_bitmapscan = off
SET enable_seqscan = off
SET jit = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_horizon CONSTANT timestamptz := retention_horizon('aggregates_1m', p_now);
    v_written integer;
BEGIN
    INSERT INTO aggregates_15m AS old (
        meter_id, bucket, samples, coverage, quality,
        energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh, power_w_count,
        power_w_min, power_w_max, power_w_sum, voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum,
        voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum, voltage_l3_v_count, voltage_l3_v_min,
        voltage_l3_v_max, voltage_l3_v_sum, current_l1_a_count, current_l1_a_min, current_l1_a_max, current_l1_a_sum,
        current_l2_a_count, current_l2_a_min, current_l2_a_max, current_l2_a_sum, current_l3_a_count, current_l3_a_min,
        current_l3_a_max, current_l3_a_sum, frequency_hz_count, frequency_hz_min, frequency_hz_max, frequency_hz_sum,
        power_factor_count, power_factor_min, power_factor_max, power_factor_sum
    )
    SELECT m.meter_id, time_bucket(INTERVAL '15 minutes', m.bucket), sum(m.samples)::integer,
           (sum(m.coverage::double precision) / 15)::real, quality_of_rank(max(quality_rank(m.quality))),
           sum(m.energy_import_wh)::bigint,
           sum(m.energy_export_wh)::bigint,
           sum(m.reactive_energy_import_varh)::bigint,
           sum(m.reactive_energy_export_varh)::bigint,
           sum(m.power_w_count)::integer, min(m.power_w_min), max(m.power_w_max), sum(m.power_w_sum),
           sum(m.voltage_l1_v_count)::integer, min(m.voltage_l1_v_min), max(m.voltage_l1_v_max), sum(m.voltage_l1_v_sum),
           sum(m.voltage_l2_v_count)::integer, min(m.voltage_l2_v_min), max(m.voltage_l2_v_max), sum(m.voltage_l2_v_sum),
           sum(m.voltage_l3_v_count)::integer, min(m.voltage_l3_v_min), max(m.voltage_l3_v_max), sum(m.voltage_l3_v_sum),
           sum(m.current_l1_a_count)::integer, min(m.current_l1_a_min), max(m.current_l1_a_max), sum(m.current_l1_a_sum),
           sum(m.current_l2_a_count)::integer, min(m.current_l2_a_min), max(m.current_l2_a_max), sum(m.current_l2_a_sum),
           sum(m.current_l3_a_count)::integer, min(m.current_l3_a_min), max(m.current_l3_a_max), sum(m.current_l3_a_sum),
           sum(m.frequency_hz_count)::integer, min(m.frequency_hz_min), max(m.frequency_hz_max), sum(m.frequency_hz_sum),
           sum(m.power_factor_count)::integer, min(m.power_factor_min), max(m.power_factor_max), sum(m.power_factor_sum)
    FROM aggregates_1m AS m
    WHERE m.meter_id = ANY (p_meters) AND m.bucket >= p_from AND m.bucket < p_to
    GROUP BY 1, 2
    ON CONFLICT (meter_id, bucket) DO UPDATE
    SET samples = EXCLUDED.samples, coverage = EXCLUDED.coverage, quality = EXCLUDED.quality,
        energy_import_wh = EXCLUDED.energy_import_wh,
        energy_export_wh = EXCLUDED.energy_export_wh,
        reactive_energy_import_varh = EXCLUDED.reactive_energy_import_varh,
        reactive_energy_export_varh = EXCLUDED.reactive_energy_export_varh,
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
        version = old.version + ((old.energy_import_wh, old.energy_export_wh, old.reactive_energy_import_varh, old.reactive_energy_export_varh, old.quality)
                                 IS DISTINCT FROM (EXCLUDED.energy_import_wh, EXCLUDED.energy_export_wh, EXCLUDED.reactive_energy_import_varh, EXCLUDED.reactive_energy_export_varh,
                                                   EXCLUDED.quality))::integer,
        computed_at = EXCLUDED.computed_at
    -- Minutes before the horizon may be gone: what is left of a quarter-hour never replaces what was computed of all of it.
    WHERE old.bucket >= v_horizon OR EXCLUDED.samples > old.samples;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
COMMENT ON FUNCTION summarise_quarters(integer[], timestamptz, timestamptz, timestamptz) IS
    'Computes aggregates_15m from aggregates_1m for the meters and whole quarter-hours given; returns the quarter-hours written';
GRANT EXECUTE ON FUNCTION summarise_quarters(integer[], timestamptz, timestamptz, timestamptz) TO segs_worker;
