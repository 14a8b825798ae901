-- What a running stack has stored of one gateway so far, for people who watch. Telemetry database.

-- name: stored
-- Readings stored, released ones among them, readings that wait in the quarantine, and the age of the newest stored
-- reading in seconds.
SELECT COALESCE(sum(stored), 0)::bigint
        + COALESCE((SELECT sum(released_stored) FROM quarantine AS q WHERE q.gateway_id = g.gateway_id), 0)::bigint,
    COALESCE((SELECT sum(readings) FROM quarantine AS q WHERE q.gateway_id = g.gateway_id AND q.released_at IS NULL),
             0)::bigint,
    (SELECT EXTRACT(epoch FROM clock_timestamp() - max(r.time))::float8 FROM raw_readings AS r
     WHERE r.meter_id IN (SELECT meter_id FROM device_registry AS d WHERE d.gateway_id = g.gateway_id)
       AND r.time > clock_timestamp() - INTERVAL '10 minutes')
FROM gateway_registry AS g LEFT JOIN ingest_batches AS b USING (gateway_id)
WHERE g.name = %(gateway)s GROUP BY g.gateway_id;

-- name: minutes
-- How many minutes of the gateway's meters are computed, of the last day.
SELECT count(*)
FROM aggregates_1m AS a
JOIN device_registry AS d USING (meter_id)
JOIN gateway_registry AS g USING (gateway_id)
WHERE g.name = %(gateway)s AND upper(d.valid) = 'infinity' AND a.bucket > clock_timestamp() - INTERVAL '1 day';

-- name: meters
-- Each meter's latest power, W, and register, Wh, and the mean power and energy of its latest minute.
SELECT m.device, m.region, p.power_w, e.energy_import_wh, a.power_w_sum / NULLIF(a.power_w_count, 0), a.energy_import_wh
FROM device_registry AS m
JOIN gateway_registry AS g USING (gateway_id)
LEFT JOIN LATERAL (
    SELECT r.power_w FROM raw_readings AS r
    WHERE r.meter_id = m.meter_id AND r.time > clock_timestamp() - INTERVAL '10 minutes' AND r.power_w IS NOT NULL
    ORDER BY r.time DESC LIMIT 1) AS p ON true
LEFT JOIN LATERAL (
    SELECT r.energy_import_wh FROM raw_readings AS r
    WHERE r.meter_id = m.meter_id AND r.time > clock_timestamp() - INTERVAL '10 minutes'
      AND r.energy_import_wh IS NOT NULL
    ORDER BY r.time DESC LIMIT 1) AS e ON true
LEFT JOIN LATERAL (
    SELECT b.* FROM aggregates_1m AS b
    WHERE b.meter_id = m.meter_id AND b.bucket > clock_timestamp() - INTERVAL '10 minutes'
    ORDER BY b.bucket DESC LIMIT 1) AS a ON true
WHERE g.name = %(gateway)s AND upper(m.valid) = 'infinity'
ORDER BY m.device;

-- name: unfinished
-- Marks that the workers have not worked off.
SELECT (SELECT count(*) FROM dirty_meters) + (SELECT count(*) FROM dirty_regions);

-- name: alerts
-- What was found wrong since a gateway was made, with itself, with what it reads and with their regions. Domain database.
SELECT a.rule, coalesce(d.device, a.site, a.region, g.name)
FROM gateways AS g
JOIN alerts AS a ON a.fired_at >= g.created_at AND a.part_of IS NULL AND NOT a.late
LEFT JOIN devices AS d ON d.meter_id = a.meter_id AND d.gateway_id = g.gateway_id
WHERE g.name = %(gateway)s AND (d.device IS NOT NULL OR a.gateway_id = g.gateway_id OR a.region IS NOT NULL)
ORDER BY a.alert_id;
