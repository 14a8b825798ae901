-- What the readings of each minute say by themselves. Planned as part of the statement that calls it, and so without a setting: what
-- it names is qualified.

CREATE OR REPLACE FUNCTION minute_readings(p_meters integer[], p_from timestamptz, p_to timestamptz, p_registers integer)
RETURNS TABLE (
    meter_id integer, bucket timestamptz, samples integer, interval_ms integer, max_power_w double precision, coverage real, registers integer,
    r1_first bigint, r1_first_at timestamptz, r1_last bigint, r1_last_at timestamptz,
    r2_first bigint, r2_first_at timestamptz, r2_last bigint, r2_last_at timestamptz,
    r3_first bigint, r3_first_at timestamptz, r3_last bigint, r3_last_at timestamptz,
    r4_first bigint, r4_first_at timestamptz, r4_last bigint, r4_last_at timestamptz,
    r1_odd boolean, r2_odd boolean, r3_odd boolean, r4_odd boolean,
    power_w_count integer, power_w_min real, power_w_max real, power_w_sum double precision,
    voltage_l1_v_count integer, voltage_l1_v_min real, voltage_l1_v_max real, voltage_l1_v_sum double precision,
    voltage_l2_v_count integer, voltage_l2_v_min real, voltage_l2_v_max real, voltage_l2_v_sum double precision,
    voltage_l3_v_count integer, voltage_l3_v_min real, voltage_l3_v_max real, voltage_l3_v_sum double precision,
    current_l1_a_count integer, current_l1_a_min real, current_l1_a_max real, current_l1_a_sum double precision,
    current_l2_a_count integer, current_l2_a_min real, current_l2_a_max real, current_l2_a_sum double precision,
    current_l3_a_count integer, current_l3_a_min real, current_l3_a_max real, current_l3_a_sum double precision,
    frequency_hz_count integer, frequency_hz_min real, frequency_hz_max real, frequency_hz_sum double precision,
    power_factor_count integer, power_factor_min real, power_factor_max real, power_factor_sum double precision
)
LANGUAGE sql STABLE
AS $$
    WITH device AS MATERIALIZED (
        SELECT d.meter_id, d.valid, d.interval_ms, d.max_power_w FROM public.device_registry AS d WHERE d.meter_id = ANY (p_meters)
    ), collected AS (
        -- The reads of a minute as they lie in the index.
        SELECT r.meter_id, public.time_bucket(INTERVAL '1 minute', r.time) AS bucket, count(*)::integer AS samples,
               array_agg(r.energy_import_wh) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1,
               array_agg(r.time) FILTER (WHERE r.energy_import_wh IS NOT NULL) AS r1_at,
               count(r.energy_export_wh) AS r2_count, array_agg(r.energy_export_wh) FILTER (WHERE p_registers & 2 <> 0 AND r.energy_export_wh IS NOT NULL) AS r2,
               array_agg(r.time) FILTER (WHERE p_registers & 2 <> 0 AND r.energy_export_wh IS NOT NULL) AS r2_at,
               count(r.reactive_energy_import_varh) AS r3_count, array_agg(r.reactive_energy_import_varh) FILTER (WHERE p_registers & 4 <> 0 AND r.reactive_energy_import_varh IS NOT NULL) AS r3,
               array_agg(r.time) FILTER (WHERE p_registers & 4 <> 0 AND r.reactive_energy_import_varh IS NOT NULL) AS r3_at,
               count(r.reactive_energy_export_varh) AS r4_count, array_agg(r.reactive_energy_export_varh) FILTER (WHERE p_registers & 8 <> 0 AND r.reactive_energy_export_varh IS NOT NULL) AS r4,
               array_agg(r.time) FILTER (WHERE p_registers & 8 <> 0 AND r.reactive_energy_export_varh IS NOT NULL) AS r4_at,
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
        FROM public.raw_readings AS r
        WHERE r.meter_id = ANY (p_meters) AND r.time >= p_from AND r.time < p_to
        GROUP BY 1, 2
        OFFSET 0
    )
    -- Of its reads a minute keeps the first and the last, and whether it goes on from each to the next: in the order of time,
    -- and by no more than is believed, which is never less than 1000.
    SELECT c.meter_id, c.bucket, c.samples, COALESCE(d.interval_ms, 60000) AS interval_ms, COALESCE(d.max_power_w, 1e6) AS max_power_w,
           least(100, COALESCE(c.samples * (d.interval_ms / 600.0), 0))::real AS coverage,
           CASE WHEN c.r1 IS NOT NULL THEN 1 ELSE 0 END + CASE WHEN c.r2_count > 0 THEN 2 ELSE 0 END
           + CASE WHEN c.r3_count > 0 THEN 4 ELSE 0 END + CASE WHEN c.r4_count > 0 THEN 8 ELSE 0 END AS registers,
           c.r1[1] AS r1_first, c.r1_at[1] AS r1_first_at, c.r1[cardinality(c.r1)] AS r1_last, c.r1_at[cardinality(c.r1)] AS r1_last_at,
           c.r2[1] AS r2_first, c.r2_at[1] AS r2_first_at, c.r2[cardinality(c.r2)] AS r2_last, c.r2_at[cardinality(c.r2)] AS r2_last_at,
           c.r3[1] AS r3_first, c.r3_at[1] AS r3_first_at, c.r3[cardinality(c.r3)] AS r3_last, c.r3_at[cardinality(c.r3)] AS r3_last_at,
           c.r4[1] AS r4_first, c.r4_at[1] AS r4_first_at, c.r4[cardinality(c.r4)] AS r4_last, c.r4_at[cardinality(c.r4)] AS r4_last_at,
           EXISTS (
               SELECT FROM (SELECT generate_subscripts(c.r1, 1) AS nth) AS i
               WHERE c.r1[i.nth] < c.r1[i.nth - 1] OR c.r1_at[i.nth] < c.r1_at[i.nth - 1]
                  OR c.r1[i.nth] - c.r1[i.nth - 1] > 1000 AND c.r1[i.nth] - c.r1[i.nth - 1] > public.register_allowance(COALESCE(d.max_power_w, 1e6), c.r1_at[i.nth - 1], c.r1_at[i.nth])) AS r1_odd,
           p_registers & 2 <> 0 AND EXISTS (
               SELECT FROM (SELECT generate_subscripts(c.r2, 1) AS nth) AS i
               WHERE c.r2[i.nth] < c.r2[i.nth - 1] OR c.r2_at[i.nth] < c.r2_at[i.nth - 1]
                  OR c.r2[i.nth] - c.r2[i.nth - 1] > 1000 AND c.r2[i.nth] - c.r2[i.nth - 1] > public.register_allowance(COALESCE(d.max_power_w, 1e6), c.r2_at[i.nth - 1], c.r2_at[i.nth])) AS r2_odd,
           p_registers & 4 <> 0 AND EXISTS (
               SELECT FROM (SELECT generate_subscripts(c.r3, 1) AS nth) AS i
               WHERE c.r3[i.nth] < c.r3[i.nth - 1] OR c.r3_at[i.nth] < c.r3_at[i.nth - 1]
                  OR c.r3[i.nth] - c.r3[i.nth - 1] > 1000 AND c.r3[i.nth] - c.r3[i.nth - 1] > public.register_allowance(COALESCE(d.max_power_w, 1e6), c.r3_at[i.nth - 1], c.r3_at[i.nth])) AS r3_odd,
           p_registers & 8 <> 0 AND EXISTS (
               SELECT FROM (SELECT generate_subscripts(c.r4, 1) AS nth) AS i
               WHERE c.r4[i.nth] < c.r4[i.nth - 1] OR c.r4_at[i.nth] < c.r4_at[i.nth - 1]
                  OR c.r4[i.nth] - c.r4[i.nth - 1] > 1000 AND c.r4[i.nth] - c.r4[i.nth - 1] > public.register_allowance(COALESCE(d.max_power_w, 1e6), c.r4_at[i.nth - 1], c.r4_at[i.nth])) AS r4_odd,
           c.power_w_count, c.power_w_min, c.power_w_max, c.power_w_sum,
           c.voltage_l1_v_count, c.voltage_l1_v_min, c.voltage_l1_v_max, c.voltage_l1_v_sum,
           c.voltage_l2_v_count, c.voltage_l2_v_min, c.voltage_l2_v_max, c.voltage_l2_v_sum,
           c.voltage_l3_v_count, c.voltage_l3_v_min, c.voltage_l3_v_max, c.voltage_l3_v_sum,
           c.current_l1_a_count, c.current_l1_a_min, c.current_l1_a_max, c.current_l1_a_sum,
           c.current_l2_a_count, c.current_l2_a_min, c.current_l2_a_max, c.current_l2_a_sum,
           c.current_l3_a_count, c.current_l3_a_min, c.current_l3_a_max, c.current_l3_a_sum,
           c.frequency_hz_count, c.frequency_hz_min, c.frequency_hz_max, c.frequency_hz_sum,
           c.power_factor_count, c.power_factor_min, c.power_factor_max, c.power_factor_sum
    FROM collected AS c LEFT JOIN device AS d ON d.meter_id = c.meter_id AND d.valid @> c.bucket
    OFFSET 0
$$;
COMMENT ON FUNCTION minute_readings(integer[], timestamptz, timestamptz, integer) IS
    'Minutes of meters in which there are readings: sums, and of each register the first and the last read, and whether those between are odd: out of order, falling, or beyond what is believed. p_registers are the registers looked at, one bit each; registers, those found, has the others too';
GRANT EXECUTE ON FUNCTION minute_readings(integer[], timestamptz, timestamptz, integer) TO segs_worker;
