-- Statements of `segs-cloud meter`. Domain database, but for those that say otherwise.

-- name: known
-- The meter with this code.
SELECT meter_id FROM meters WHERE meter_code = %(code)s;

-- name: named
-- Whether there are the region and the gateway that a list is asked for, and which there are.
SELECT %(region)s::text IS NULL OR EXISTS (SELECT FROM regions WHERE region = %(region)s) AS region_known,
    %(gateway)s::text IS NULL OR EXISTS (SELECT FROM gateways WHERE name = %(gateway)s) AS gateway_known,
    ARRAY(SELECT region FROM regions ORDER BY region LIMIT 50) AS regions,
    ARRAY(SELECT name FROM gateways ORDER BY name LIMIT 50) AS gateways;

-- name: list
-- Meters with the place and the device that they have now.
SELECT m.meter_code AS code, m.model, m.serial, l.region, l.timezone, g.name AS gateway, d.device, d.interval_ms, m.max_power_w
FROM meters AS m
LEFT JOIN meter_locations AS l ON l.meter_id = m.meter_id AND l.valid @> %(now)s::timestamptz
LEFT JOIN devices AS d ON d.meter_id = m.meter_id AND d.valid @> %(now)s::timestamptz
LEFT JOIN gateways AS g ON g.gateway_id = d.gateway_id
WHERE (%(region)s::text IS NULL OR l.region = %(region)s) AND (%(gateway)s::text IS NULL OR g.name = %(gateway)s)
ORDER BY m.meter_id;

-- name: meter
-- What is recorded of one meter.
SELECT meter_code AS code, model, serial, site, max_power_w, nominal_voltage_v, phases, rated_power_w, exports, register_modulus_wh AS rollover_wh,
    register_resets AS resets
FROM meters WHERE meter_code = %(code)s;

-- name: connection
-- What is not NULL becomes so.
UPDATE meters
SET site = coalesce(%(site)s, site), nominal_voltage_v = coalesce(%(nominal_voltage_v)s, nominal_voltage_v), phases = coalesce(%(phases)s, phases),
    rated_power_w = coalesce(%(rated_power_w)s, rated_power_w), exports = coalesce(%(exports)s, exports)
WHERE meter_code = %(code)s;

-- name: places
-- Where a meter was, is and will be.
SELECT l.region, l.timezone, nullif(lower(l.valid), '-infinity') AS "from", nullif(upper(l.valid), 'infinity') AS "to"
FROM meter_locations AS l JOIN meters AS m USING (meter_id)
WHERE m.meter_code = %(code)s ORDER BY l.valid;

-- name: devices
-- As which devices it was, is and will be read.
SELECT g.name AS gateway, d.device, d.interval_ms, nullif(lower(d.valid), '-infinity') AS "from", nullif(upper(d.valid), 'infinity') AS "to"
FROM devices AS d JOIN gateways AS g USING (gateway_id) JOIN meters AS m USING (meter_id)
WHERE m.meter_code = %(code)s ORDER BY d.valid;

-- name: owner
-- Whose it is now.
SELECT o.user_id, u.email, nullif(lower(o.valid), '-infinity') AS "from", nullif(upper(o.valid), 'infinity') AS "to"
FROM meter_owners AS o JOIN meters AS m USING (meter_id) JOIN users AS u USING (user_id)
WHERE m.meter_code = %(code)s AND o.valid @> %(now)s::timestamptz;

-- name: tariff
-- By which tariff it is billed now.
SELECT t.code, nullif(lower(t.valid), '-infinity') AS "from", nullif(upper(t.valid), 'infinity') AS "to"
FROM meter_tariffs AS t JOIN meters AS m USING (meter_id)
WHERE m.meter_code = %(code)s AND t.valid @> %(now)s::timestamptz;

-- name: exchanges
-- Exchanges that stand, and those that were revoked.
SELECT e.exchanged_at, e.old_model, e.old_serial, e.new_model, e.new_serial, e.final_import_wh, e.final_export_wh,
    e.first_import_wh, e.first_export_wh, e.despite, e.revoked_at, e.revoked_reason
FROM meter_exchanges AS e JOIN meters AS m USING (meter_id)
WHERE m.meter_code = %(code)s ORDER BY e.exchanged_at, e.meter_exchange_id;

-- name: last_reading
-- Telemetry database: the newest reading that is kept.
SELECT r.time, r.power_w FROM raw_readings AS r
WHERE r.meter_id = %(meter_id)s AND r.time >= retention_horizon('raw_readings', %(now)s) AND r.time < %(now)s::timestamptz + INTERVAL '1 day'
ORDER BY r.time DESC LIMIT 1;

-- name: last_reads
-- Telemetry database: registers that a meter is read by, each with its last read.
SELECT k.register, n.at AS last_read_at, n.value
FROM meter_registers AS k
LEFT JOIN LATERAL read_before(k.meter_id, k.register, k.last_day + INTERVAL '1 day', k.last_day - INTERVAL '1 day') AS n ON true
WHERE k.meter_id = %(meter_id)s ORDER BY k.register;

-- name: move
-- A meter is in another region from an instant on.
SELECT meter_move(%(code)s, %(region)s, %(timezone)s, %(from)s, %(now)s);

-- name: generation
-- What is generated behind a meter, another one measures from an instant on.
SELECT meter_generator_set(%(code)s, %(generator)s, %(from)s, %(now)s);

-- name: generators
-- Which did, does and will.
SELECT g.meter_code AS generator, nullif(lower(v.valid), '-infinity') AS "from", nullif(upper(v.valid), 'infinity') AS "to"
FROM meter_generators AS v JOIN meters AS m USING (meter_id) JOIN meters AS g ON g.meter_id = v.generator_id
WHERE m.meter_code = %(code)s ORDER BY v.valid;

-- name: exchange_reads
-- Telemetry database: what the readings around an exchange say of its reads.
SELECT register, read, given, near_at, near_value, most, fault,
    %(at)s::timestamptz < retention_horizon('raw_readings', %(now)s) AS gone
FROM exchange_reads(%(meter_id)s, %(at)s, ARRAY[%(final_import_wh)s, %(final_export_wh)s]::bigint[],
                    ARRAY[%(first_import_wh)s, %(first_export_wh)s]::bigint[]);

-- name: exchange
-- Another meter measures from then on.
SELECT old_model, old_serial, new_model, new_serial
FROM meter_exchange(%(code)s, %(at)s, %(model)s, %(serial)s, %(final_import_wh)s, %(final_export_wh)s, %(first_import_wh)s,
    %(first_export_wh)s, %(now)s, %(despite)s);

-- name: exchange_revoke
-- An exchange never happened.
SELECT old_model, old_serial, new_model, new_serial FROM meter_exchange_revoke(%(code)s, %(at)s, %(reason)s, %(now)s);

-- name: registers
-- What is known of the meter's registers.
SELECT meter_registers(%(code)s, %(modulus_wh)s, %(resets)s, %(now)s);
