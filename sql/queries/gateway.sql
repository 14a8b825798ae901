-- Statements of `segs-cloud gateway`. All but heard run in the domain database.

-- name: gateway_add
-- A gateway with its first key.
SELECT gateway_add(%(name)s, %(key_hash)s, %(now)s);

-- name: gateway_key_add
-- A further key.
SELECT gateway_key_add(%(name)s, %(key_hash)s, %(now)s);

-- name: key_revoke
-- Revoke a key by its number; a number of another gateway's key raises the same error as an unknown one.
SELECT gateway_key_revoke(%(name)s, (SELECT key_hash FROM gateway_keys WHERE gateway_key_id = %(key_id)s), %(now)s);

-- name: gateways
-- Gateways with the numbers of their valid keys and how many devices they have now.
SELECT g.gateway_id, g.name,
    COALESCE((SELECT array_agg(k.gateway_key_id ORDER BY k.gateway_key_id) FROM gateway_keys AS k
              WHERE k.gateway_id = g.gateway_id AND k.revoked_at IS NULL), '{}') AS keys,
    (SELECT count(*) FROM devices AS d WHERE d.gateway_id = g.gateway_id AND upper(d.valid) = 'infinity') AS devices
FROM gateways AS g
ORDER BY g.name;

-- name: heard
-- Telemetry database: what each gateway has delivered, and how it last said that it is doing. The ledger is not read.
SELECT gateway_id, t.last_batch_at, COALESCE(t.batches, 0) AS batches, COALESCE(t.readings, 0) AS readings,
    t.last_stream, t.last_seq, r.received_at AS last_report_at, r.clock_ahead_s, r.report
FROM (SELECT gateway_id, sum(batches)::bigint AS batches, sum(readings)::bigint AS readings,
             max(last_received_at) AS last_batch_at,
             (array_agg(last_stream ORDER BY last_received_at DESC, tally_id DESC))[1] AS last_stream,
             (array_agg(last_seq ORDER BY last_received_at DESC, tally_id DESC))[1] AS last_seq
      FROM delivery_tallies GROUP BY gateway_id) AS t
FULL JOIN gateway_reports AS r USING (gateway_id);

-- name: region_make
-- A region that a registration names first; then the row has the others that there are.
INSERT INTO regions (region, name, timezone, created_at, updated_at)
VALUES (%(region)s, %(region)s, %(timezone)s, %(now)s, %(now)s)
ON CONFLICT (region) DO NOTHING
RETURNING (SELECT string_agg(r.region, ', ' ORDER BY r.region) FROM regions AS r) AS others;

-- name: device_register
-- Say which meter a device is: meter_id and meter_code.
SELECT meter_id, meter_code FROM device_register(%(name)s, %(device)s, %(region)s, %(timezone)s, %(model)s, %(serial)s,
    %(interval_ms)s, %(max_power_w)s, %(now)s, %(meter_code)s);

-- name: devices_of
-- Devices that a gateway has now.
SELECT d.device FROM devices AS d JOIN gateways AS g USING (gateway_id)
WHERE g.name = %(name)s AND upper(d.valid) = 'infinity';

-- name: device_unregister
-- End a registration.
SELECT device_unregister(%(name)s, %(device)s, %(now)s);
