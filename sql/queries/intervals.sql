-- Intervals from a file of reads, in a scratch database. One meter, and all of its time in one chunk.

-- name: one_chunk
-- Years of reads, in as few chunks as possible.
SELECT set_chunk_time_interval(h::regclass, INTERVAL '10 years') FROM unnest('{raw_readings,aggregates_1m,aggregates_15m}'::text[]) AS h;

-- name: meter
-- The metering point.
WITH gateway AS (
    INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'file') RETURNING gateway_id
), region AS (
    INSERT INTO region_registry (region) VALUES ('file') RETURNING region
)
INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh,
    register_resets, interval_ms)
SELECT gateway_id, 'file', 1, 'MTR-00000001', region, 'UTC', %(max_power_w)s, %(modulus_wh)s, false, %(interval_ms)s
FROM gateway, region;

-- name: reads
-- The reads.
COPY raw_readings (time, meter_id, batch_id, energy_import_wh, energy_export_wh) FROM STDIN;

-- name: epoch
-- An exchange.
INSERT INTO register_epochs (meter_id, register, starts_at, final_value, first_value)
VALUES (1, %(register)s, %(at)s, %(final)s, %(first)s);

-- name: mark
-- All of it is to be computed.
SELECT mark_meters(1, '{1}', %(first)s, %(last)s, %(first)s);

-- name: minutes
-- Minutes from readings.
SELECT marks, failed FROM aggregate_readings(500, %(now)s, true);

-- name: quarters
-- Quarter-hours from minutes.
SELECT marks, failed FROM aggregate_quarters(500, %(now)s, true);

-- name: intervals
-- What the reads reach into: none that begins with the last of them.
SELECT i.start_time AS start, i.energy_import_wh AS import_wh, i.energy_export_wh AS export_wh, i.quality,
    round(i.coverage::numeric, 2)::float8 AS coverage
FROM intervals('{1}', time_bucket('1 hour', %(first)s::timestamptz), time_bucket('1 hour', %(last)s::timestamptz) + INTERVAL '1 hour',
               %(resolution)s, 'UTC') AS i
WHERE i.start_time < %(last)s
ORDER BY i.start_time;
