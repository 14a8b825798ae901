-- What is asked of the telemetry database most. One meter, or all regions, within bounds of time.

-- name: latest
-- The newest reading of a meter since a time.
SELECT time, power_w, power_l1_w, power_l2_w, power_l3_w, apparent_power_va, reactive_power_var, power_factor,
    voltage_l1_v, voltage_l2_v, voltage_l3_v, current_l1_a, current_l2_a, current_l3_a, frequency_hz,
    energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh
FROM raw_readings
WHERE meter_id = %(meter_id)s AND time >= %(since)s
ORDER BY time DESC LIMIT 1;

-- name: intervals
-- A meter's intervals at a resolution.
SELECT start_time, end_time, energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh,
    power_w_mean, power_w_min, power_w_max, coverage, quality, version, missing
FROM intervals(ARRAY[%(meter_id)s]::integer[], %(from)s, %(to)s, %(resolution)s);

-- name: regions
-- All regions' quarter-hours.
SELECT region, bucket, meters, meters_expected, energy_import_wh, energy_export_wh, power_w_mean, capacity_w, load_percent,
    coverage, quality
FROM regional_15m
WHERE bucket >= %(from)s AND bucket < %(to)s
ORDER BY region, bucket;
