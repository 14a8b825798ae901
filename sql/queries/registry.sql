-- Keeps the telemetry database's registry tables equal to the domain database's registry views. What is wanted travels
-- as JSON; the telemetry database compares values, not the text of them.

-- name: lock
-- Telemetry database: one copy at a time, until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('segs.registry', 0));

-- name: write_exactly
-- Domain database: write values so that any server reads the same, whatever is set for this one, its databases and roles.
SELECT set_config('datestyle', 'ISO', true), set_config('bytea_output', 'hex', true),
    set_config('extra_float_digits', '1', true);

-- name: wanted
-- Domain database: the rows of each registry table, of one moment.
SELECT (SELECT COALESCE(jsonb_agg(g), '[]')::text FROM registry_gateways AS g) AS gateways,
    (SELECT COALESCE(jsonb_agg(r), '[]')::text FROM registry_regions AS r) AS regions,
    (SELECT COALESCE(jsonb_agg(c), '[]')::text FROM registry_capacities AS c) AS capacities,
    (SELECT COALESCE(jsonb_agg(d), '[]')::text FROM registry_devices AS d) AS devices,
    (SELECT COALESCE(jsonb_agg(e), '[]')::text FROM registry_epochs AS e) AS epochs;

-- name: differs
-- Whether there is anything to do. Asked first: a statement counts registry_version up even where it changes no row,
-- and every receiver would load the whole registry again.
WITH devices AS (
    SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh, register_resets, interval_ms, valid
    FROM jsonb_populate_recordset(NULL::device_registry, %(devices)s::jsonb)),
present AS (
    SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh, register_resets, interval_ms, valid
    FROM device_registry)
SELECT EXISTS (SELECT * FROM jsonb_populate_recordset(NULL::gateway_registry, %(gateways)s::jsonb)
               EXCEPT TABLE gateway_registry)
    OR EXISTS (SELECT gateway_id FROM gateway_registry WHERE key_hashes <> '{}'
               EXCEPT SELECT gateway_id FROM jsonb_populate_recordset(NULL::gateway_registry, %(gateways)s::jsonb))
    OR EXISTS (SELECT * FROM jsonb_populate_recordset(NULL::region_registry, %(regions)s::jsonb)
               EXCEPT TABLE region_registry)
    OR EXISTS (SELECT * FROM jsonb_populate_recordset(NULL::capacity_registry, %(capacities)s::jsonb)
               EXCEPT TABLE capacity_registry)
    OR EXISTS (TABLE capacity_registry
               EXCEPT SELECT * FROM jsonb_populate_recordset(NULL::capacity_registry, %(capacities)s::jsonb))
    OR EXISTS (SELECT * FROM jsonb_populate_recordset(NULL::register_epochs, %(epochs)s::jsonb) EXCEPT TABLE register_epochs)
    OR EXISTS (TABLE register_epochs EXCEPT SELECT * FROM jsonb_populate_recordset(NULL::register_epochs, %(epochs)s::jsonb))
    OR EXISTS (TABLE devices EXCEPT TABLE present)
    OR EXISTS (TABLE present EXCEPT TABLE devices);

-- name: free_names
-- Names that other gateways have now; a gateway that the domain no longer shows keeps its own with its number.
UPDATE gateway_registry AS g SET name = g.name || '#' || g.gateway_id
FROM jsonb_populate_recordset(NULL::gateway_registry, %(gateways)s::jsonb) AS wanted
WHERE wanted.name = g.name AND wanted.gateway_id <> g.gateway_id;

-- name: merge_gateways
-- A gateway that the domain no longer shows may be referenced by what is stored: its row stays, without keys.
INSERT INTO gateway_registry AS g (gateway_id, name, key_hashes)
SELECT gateway_id, name, key_hashes FROM jsonb_populate_recordset(NULL::gateway_registry, %(gateways)s::jsonb)
UNION ALL
SELECT gateway_id, name, '{}' FROM gateway_registry
WHERE gateway_id NOT IN (
    SELECT gateway_id FROM jsonb_populate_recordset(NULL::gateway_registry, %(gateways)s::jsonb))
ON CONFLICT (gateway_id) DO UPDATE SET name = excluded.name, key_hashes = excluded.key_hashes
WHERE (g.name, g.key_hashes) IS DISTINCT FROM (excluded.name, excluded.key_hashes);

-- name: merge_regions
-- A region that the domain no longer shows stays: meters were summed over it.
INSERT INTO region_registry AS r (region, capacity_w)
SELECT region, capacity_w FROM jsonb_populate_recordset(NULL::region_registry, %(regions)s::jsonb)
ON CONFLICT (region) DO UPDATE SET capacity_w = excluded.capacity_w
WHERE r.capacity_w IS DISTINCT FROM excluded.capacity_w;

-- name: mark_moved
-- Regions that gained or lost a meter, and when, are summed again.
SELECT mark_moved(%(devices)s::jsonb, %(capacities)s::jsonb, clock_timestamp());

-- name: delete_capacities
-- First what is no longer so: a region has one capacity at a time.
DELETE FROM capacity_registry
WHERE (region, capacity_w, valid) NOT IN (
    SELECT region, capacity_w, valid FROM jsonb_populate_recordset(NULL::capacity_registry, %(capacities)s::jsonb));

-- name: insert_capacities
-- Then what is new.
INSERT INTO capacity_registry (region, capacity_w, valid)
SELECT region, capacity_w, valid FROM jsonb_populate_recordset(NULL::capacity_registry, %(capacities)s::jsonb)
EXCEPT TABLE capacity_registry;

-- name: delete_devices
-- First what is no longer so: two rows must not claim one device, or one meter, at the same time.
DELETE FROM device_registry AS d
WHERE NOT EXISTS (
    SELECT FROM jsonb_populate_recordset(NULL::device_registry, %(devices)s::jsonb) AS w
    WHERE (w.gateway_id, w.device, w.meter_id, w.valid) = (d.gateway_id, d.device, d.meter_id, d.valid)
      AND (w.meter_code, w.region, w.timezone, w.max_power_w, w.register_modulus_wh, w.register_resets, w.interval_ms)
          IS NOT DISTINCT FROM
          (d.meter_code, d.region, d.timezone, d.max_power_w, d.register_modulus_wh, d.register_resets, d.interval_ms));

-- name: insert_devices
-- Then what is new.
INSERT INTO device_registry
    (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh, register_resets, interval_ms, valid)
SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh, register_resets, interval_ms, valid
FROM jsonb_populate_recordset(NULL::device_registry, %(devices)s::jsonb)
EXCEPT
SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh, register_resets, interval_ms, valid
FROM device_registry;

-- name: mark_exchanges
-- Energy around exchanges that are new, told otherwise, or taken back is computed again.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_populate_recordset(NULL::register_epochs, %(epochs)s::jsonb)
), changed AS (
    SELECT DISTINCT c.meter_id, c.starts_at
    FROM ((TABLE wanted EXCEPT TABLE register_epochs) UNION (TABLE register_epochs EXCEPT TABLE wanted)) AS c
)
SELECT mark_meters(1, ARRAY[c.meter_id], c.starts_at, c.starts_at, clock_timestamp()) FROM changed AS c;

-- name: delete_epochs
-- First what is no longer so.
DELETE FROM register_epochs AS e
WHERE NOT EXISTS (SELECT FROM jsonb_populate_recordset(NULL::register_epochs, %(epochs)s::jsonb) AS w
                  WHERE (w.meter_id, w.register, w.starts_at) = (e.meter_id, e.register, e.starts_at)
                    AND (w.final_value, w.first_value) IS NOT DISTINCT FROM (e.final_value, e.first_value));

-- name: insert_epochs
-- Then what is new.
INSERT INTO register_epochs (meter_id, register, starts_at, final_value, first_value)
SELECT meter_id, register, starts_at, final_value, first_value FROM jsonb_populate_recordset(NULL::register_epochs, %(epochs)s::jsonb)
EXCEPT TABLE register_epochs;
