-- Intervals from a file of reads, in a scratch database. One meter, and all of its time in one chunk.

-- name: one_chunk
-- Years of reads, in as few chunks as possible.
SELECT set_chunk_time_interval(h::regclass, INTERVAL '10 years') FROM unnest('{raw_readings,aggregates_1m,aggregates_15m}'::text[]) AS h;

-- name: meter
-- The metering point. However rarely it is read, reads that lie too far apart have no energy between them.
WITH gateway AS (
    INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'file') RETURNING gateway_id
), region AS (
    INSERT INTO region_registry (region) VALUES ('file') RETURNING region
)
INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh,
    register_resets, interval_ms)
SELECT gateway_id, 'file', 1, 'MTR-00000001', region, 'UTC', %(max_power_w)s, %(modulus_wh)s, false,
    least(%(interval_ms)s, round(EXTRACT(epoch FROM longest_gap()) * 1000))::integer
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

-- name: unknown
-- What a register moved by after a read that no other follows, because of an exchange whose final read nobody took or of more
-- longest_gap(), is not 0. A minute that begins with such a read has nothing that is known.
WITH read AS (
    SELECT k.register, r.time,
        (SELECT count(*) FROM register_epochs AS e WHERE e.meter_id = 1 AND e.register = k.register AND e.starts_at <= r.time) AS epoch
    FROM raw_readings AS r CROSS JOIN (VALUES (1::smallint), (2::smallint)) AS k (register)
    WHERE r.meter_id = 1 AND r.time >= %(first)s AND r.time <= %(last)s
      AND register_value(k.register, r.energy_import_wh, r.energy_export_wh, NULL, NULL) IS NOT NULL
), followed AS (
    SELECT r.*, lead(r.time) OVER (PARTITION BY r.register, r.epoch ORDER BY r.time) AS next_at,
        lag(r.time) OVER (PARTITION BY r.register, r.epoch ORDER BY r.time) AS before_at
    FROM read AS r
), left_open AS (
    SELECT f.register, f.time, time_bucket(INTERVAL '1 minute', f.time) AS bucket, f.before_at
    FROM followed AS f
    LEFT JOIN LATERAL (
        SELECT e.starts_at, e.final_value FROM register_epochs AS e
        WHERE e.meter_id = 1 AND e.register = f.register AND e.starts_at > f.time
        ORDER BY e.starts_at LIMIT 1
    ) AS exchange ON true
    WHERE (f.next_at IS NOT NULL OR exchange.starts_at IS NOT NULL)
      AND COALESCE(f.next_at, CASE WHEN exchange.final_value IS NOT NULL THEN exchange.starts_at END, 'infinity') >= f.time + longest_gap()
), minute AS (
    SELECT o.bucket, bool_or(o.register = 1 AND o.time = o.bucket) AS no_import, bool_or(o.register = 2 AND o.time = o.bucket) AS no_export
    FROM left_open AS o GROUP BY o.bucket
)
UPDATE aggregates_1m AS a
SET quality = 10, energy_import_wh = CASE WHEN NOT m.no_import THEN a.energy_import_wh END,
    energy_export_wh = CASE WHEN NOT m.no_export THEN a.energy_export_wh END,
    coverage = CASE WHEN (m.no_import OR a.energy_import_wh IS NULL) AND (m.no_export OR a.energy_export_wh IS NULL) THEN 0 ELSE a.coverage END
FROM minute AS m
WHERE a.meter_id = 1 AND a.bucket = m.bucket AND a.bucket >= %(first)s::timestamptz - INTERVAL '1 minute' AND a.bucket <= %(last)s;

-- name: quarters
-- Quarter-hours from minutes.
SELECT marks, failed FROM aggregate_quarters(500, %(now)s, true);

-- name: intervals
-- What the reads reach into: none that begins with the last of them. Whole hours, days or months (unit) of the zone.
SELECT i.start_time AS start, i.energy_import_wh AS import_wh, i.energy_export_wh AS export_wh, i.quality,
    round(i.coverage::numeric, 2)::float8 AS coverage
FROM intervals('{1}', local_start(date_trunc(%(unit)s, %(first)s::timestamptz AT TIME ZONE %(zone)s), %(zone)s),
               local_start(date_trunc(%(unit)s, %(last)s::timestamptz AT TIME ZONE %(zone)s) + ('1 ' || %(unit)s)::interval, %(zone)s),
               %(resolution)s, %(zone)s) AS i
WHERE i.start_time < %(last)s
ORDER BY i.start_time;
