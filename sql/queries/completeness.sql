-- What came, and what did not.

-- name: gateway
-- A row if there is a gateway of that name.
SELECT gateway_id FROM gateway_registry WHERE name = %(name)s;

-- name: streams
-- Per stream of a gateway.
SELECT gateway, stream::text, first_seq, last_seq, batches, readings, stored, duplicates, quarantined, missing_batches, missing
FROM stream_completeness(%(from)s, %(to)s);

-- name: meters
-- Per meter.
SELECT meter_code, gateway, device, interval_ms, first_time, last_time, expected, received, missing, gap_count, gaps,
    stretches, reasons, quarantined
FROM meter_completeness(%(from)s, %(to)s, %(whole)s);

-- name: quarantine
-- What waits in the quarantine, by device and reason.
SELECT g.name AS gateway, q.device, q.reason, sum(q.readings)::bigint AS readings, min(q.first_time) AS first_time,
    max(q.last_time) AS last_time
FROM quarantine AS q JOIN gateway_registry AS g ON g.gateway_id = q.gateway_id
WHERE q.released_at IS NULL AND q.first_time < %(to)s AND q.last_time >= %(from)s
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
