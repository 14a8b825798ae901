-- Statements of the API about gateways and their devices. Domain database, but for heard.

-- name: page
-- One page in the order of their numbers, one more than is shown.
SELECT g.gateway_id, g.name, g.region, g.disabled_at, g.created_at, g.updated_at,
    COALESCE((SELECT array_agg(k.gateway_key_id ORDER BY k.gateway_key_id) FROM gateway_keys AS k
              WHERE k.gateway_id = g.gateway_id AND k.revoked_at IS NULL), '{}') AS keys,
    (SELECT count(*) FROM devices AS d WHERE d.gateway_id = g.gateway_id AND upper(d.valid) = 'infinity') AS devices
FROM gateways AS g
WHERE g.gateway_id > %(after)s AND (%(region)s::text IS NULL OR g.region = %(region)s)
    AND (%(search)s::text IS NULL OR strpos(lower(g.name), lower(%(search)s)) > 0)
ORDER BY g.gateway_id LIMIT %(limit)s + 1;

-- name: gateway
-- One gateway.
SELECT g.gateway_id, g.name, g.region, g.disabled_at, g.created_at, g.updated_at,
    COALESCE((SELECT array_agg(k.gateway_key_id ORDER BY k.gateway_key_id) FROM gateway_keys AS k
              WHERE k.gateway_id = g.gateway_id AND k.revoked_at IS NULL), '{}') AS keys,
    (SELECT count(*) FROM devices AS d WHERE d.gateway_id = g.gateway_id AND upper(d.valid) = 'infinity') AS devices
FROM gateways AS g WHERE g.name = %(name)s;

-- name: add
-- A gateway with its first key.
SELECT gateway_add(%(name)s, %(key_hash)s, %(now)s, %(region)s);

-- name: region_set
-- Whose operators look after it.
SELECT gateway_region_set(%(name)s, %(region)s);

-- name: enable
-- Whether anything is accepted from it.
SELECT gateway_enable(%(name)s, %(enabled)s, %(now)s);

-- name: keys
-- Keys that it has and had.
SELECT k.gateway_key_id AS key_id, k.created_at, k.revoked_at
FROM gateway_keys AS k WHERE k.gateway_id = gateway_id_of(%(name)s) ORDER BY k.gateway_key_id;

-- name: key_add
-- A further key.
SELECT gateway_key_add(%(name)s, %(key_hash)s, %(now)s) AS key_id;

-- name: key_end
-- A key is revoked.
SELECT gateway_key_end(%(name)s, %(key_id)s, %(last)s, %(now)s);

-- name: devices
-- Devices that it reads, or also those that it read.
SELECT d.device, m.meter_id, m.meter_code AS meter, d.interval_ms, nullif(lower(d.valid), '-infinity') AS "from",
    nullif(upper(d.valid), 'infinity') AS "to"
FROM devices AS d JOIN meters AS m USING (meter_id)
WHERE d.gateway_id = gateway_id_of(%(name)s) AND (%(ended)s OR upper(d.valid) = 'infinity')
ORDER BY d.device, d.valid;

-- name: device_register
-- Say which meter a device is.
SELECT meter_code AS code FROM device_register(%(name)s, %(device)s, %(region)s, %(timezone)s, %(model)s, %(serial)s, %(interval_ms)s,
    %(max_power_w)s, %(now)s, %(meter)s);

-- name: device_end
-- End a registration.
SELECT device_unregister(%(name)s, %(device)s, %(now)s) AS code;

-- name: device_move
-- A meter is read as another device.
SELECT device_move(%(name)s, %(device)s, %(to_gateway)s, %(to_device)s, %(interval_ms)s, %(now)s) AS code;
