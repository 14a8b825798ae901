-- Statements of `segs-cloud gateway`. All but deliveries run in the domain database.

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
              WHERE k.gateway_id = g.gateway_id AND k.revoked_at IS NULL), '{}'),
    (SELECT count(*) FROM devices AS d WHERE d.gateway_id = g.gateway_id AND upper(d.valid) = 'infinity')
FROM gateways AS g
ORDER BY g.name;

-- name: deliveries
-- Telemetry database: what each gateway has delivered.
SELECT gateway_id, max(received_at), count(*), sum(readings)::bigint FROM ingest_batches GROUP BY gateway_id;

-- name: region_make
-- A region that a registration names first.
INSERT INTO regions (region, name, timezone, created_at, updated_at)
VALUES (%(region)s, %(region)s, %(timezone)s, %(now)s, %(now)s)
ON CONFLICT (region) DO NOTHING;

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
