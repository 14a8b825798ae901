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
SELECT time_bucket(%(step)s::interval, a.bucket) AS start, sum(a.energy_import_wh)::bigint AS import_wh,
    sum(a.energy_export_wh)::bigint AS export_wh, quality_of_rank(max(quality_rank(a.quality))) AS quality,
    round((sum(a.coverage::float8) * 15 / (EXTRACT(epoch FROM %(step)s::interval)::float8 / 60))::numeric, 2)::float8 AS coverage
FROM aggregates_15m AS a
WHERE a.meter_id = 1 AND a.bucket >= time_bucket(%(step)s::interval, %(first)s::timestamptz) AND a.bucket <= %(last)s
GROUP BY 1
HAVING time_bucket(%(step)s::interval, min(a.bucket)) < %(last)s
ORDER BY 1;
