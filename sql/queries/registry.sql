-- Keeps the telemetry database's registry tables equal to the domain database's registry views. What is wanted travels
-- as COPY's text into temporary tables; the telemetry database compares values, not the text of them.

-- name: lock
-- Telemetry database: one copy at a time, until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('segs.registry', 0));

-- name: copied
-- Telemetry database: the state that was copied last, unless somebody has changed a registry table since.
SELECT copied_token FROM registry_version WHERE copied_version = version;

-- name: state
-- Domain database: the present state, in one name for all of its tokens.
SELECT encode(substring(sha256(string_agg(uuid_send(token), ''::bytea ORDER BY lane)) FROM 1 FOR 16), 'hex')::uuid
FROM registry_state;

-- name: write_exactly
-- Domain database: write values so that any server reads the same, whatever is set for this one, its databases and roles.
SELECT set_config('datestyle', 'ISO', true), set_config('bytea_output', 'hex', true),
    set_config('extra_float_digits', '1', true);

-- name: stage
-- Telemetry database: room for what is wanted.
CREATE TEMPORARY TABLE wanted_gateways ON COMMIT DROP AS TABLE gateway_registry WITH NO DATA;
CREATE TEMPORARY TABLE wanted_regions ON COMMIT DROP AS TABLE region_registry WITH NO DATA;
CREATE TEMPORARY TABLE wanted_capacities ON COMMIT DROP AS TABLE capacity_registry WITH NO DATA;
CREATE TEMPORARY TABLE wanted_devices ON COMMIT DROP AS
SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh,
    register_resets, interval_ms, valid FROM device_registry WITH NO DATA;
CREATE TEMPORARY TABLE wanted_epochs ON COMMIT DROP AS TABLE register_epochs WITH NO DATA;

-- name: read_gateways
-- Domain database.
COPY (SELECT gateway_id, name, key_hashes FROM registry_gateways) TO STDOUT;

-- name: read_regions
-- Domain database.
COPY (SELECT region, capacity_w FROM registry_regions) TO STDOUT;

-- name: read_capacities
-- Domain database.
COPY (SELECT region, capacity_w, valid FROM registry_capacities) TO STDOUT;

-- name: read_devices
-- Domain database.
COPY (SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh, register_resets, interval_ms, valid
      FROM registry_devices) TO STDOUT;

-- name: read_epochs
-- Domain database.
COPY (SELECT meter_id, register, starts_at, final_value, first_value FROM registry_epochs) TO STDOUT;

-- name: write_gateways
-- Telemetry database, and so is all that follows.
COPY wanted_gateways FROM STDIN;

-- name: write_regions
-- What the regions should be.
COPY wanted_regions FROM STDIN;

-- name: write_capacities
-- What the capacities should be.
COPY wanted_capacities FROM STDIN;

-- name: write_devices
-- What the devices should be.
COPY wanted_devices FROM STDIN;

-- name: write_epochs
-- What the epochs should be.
COPY wanted_epochs FROM STDIN;

-- name: analyse
-- They may be many.
ANALYZE wanted_devices, wanted_epochs;

-- name: differs
-- Whether there is anything to do. Asked first: a statement counts registry_version up even where it changes no row,
-- and every receiver would load the whole registry again.
WITH present AS (
    SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh,
    register_resets, interval_ms, valid
    FROM device_registry)
SELECT EXISTS (TABLE wanted_gateways EXCEPT TABLE gateway_registry)
    OR EXISTS (SELECT gateway_id FROM gateway_registry WHERE key_hashes <> '{}' EXCEPT SELECT gateway_id FROM wanted_gateways)
    OR EXISTS (TABLE wanted_regions EXCEPT TABLE region_registry)
    OR EXISTS (TABLE wanted_capacities EXCEPT TABLE capacity_registry)
    OR EXISTS (TABLE capacity_registry EXCEPT TABLE wanted_capacities)
    OR EXISTS (TABLE wanted_epochs EXCEPT TABLE register_epochs)
    OR EXISTS (TABLE register_epochs EXCEPT TABLE wanted_epochs)
    OR EXISTS (TABLE wanted_devices EXCEPT TABLE present)
    OR EXISTS (TABLE present EXCEPT TABLE wanted_devices);

-- name: free_names
-- Names that other gateways have now; a gateway that the domain no longer shows keeps its own with its number.
UPDATE gateway_registry AS g SET name = g.name || '#' || g.gateway_id
FROM wanted_gateways AS wanted
WHERE wanted.name = g.name AND wanted.gateway_id <> g.gateway_id;

-- name: merge_gateways
-- A gateway that the domain no longer shows may be referenced by what is stored: its row stays, without keys.
INSERT INTO gateway_registry AS g (gateway_id, name, key_hashes)
SELECT gateway_id, name, key_hashes FROM wanted_gateways
UNION ALL
SELECT gateway_id, name, '{}' FROM gateway_registry WHERE gateway_id NOT IN (SELECT gateway_id FROM wanted_gateways)
ON CONFLICT (gateway_id) DO UPDATE SET name = excluded.name, key_hashes = excluded.key_hashes
WHERE (g.name, g.key_hashes) IS DISTINCT FROM (excluded.name, excluded.key_hashes);

-- name: merge_regions
-- A region that the domain no longer shows stays: meters were summed over it.
INSERT INTO region_registry AS r (region, capacity_w)
SELECT region, capacity_w FROM wanted_regions
ON CONFLICT (region) DO UPDATE SET capacity_w = excluded.capacity_w
WHERE r.capacity_w IS DISTINCT FROM excluded.capacity_w;

-- name: mark_moved
-- Regions that gained or lost a meter, and when, are summed again.
SELECT mark_moved(clock_timestamp());

-- name: mark_registers
-- Where more or less is believed of registers from now on, what is kept of their reads is looked at again.
SELECT mark_meters(1, array_agg(DISTINCT w.meter_id), retention_horizon('raw_readings', clock_timestamp()), clock_timestamp(), clock_timestamp())
FROM wanted_devices AS w JOIN device_registry AS d ON d.meter_id = w.meter_id AND d.valid && w.valid
WHERE (w.max_power_w, w.register_modulus_wh, w.register_resets) IS DISTINCT FROM (d.max_power_w, d.register_modulus_wh, d.register_resets);

-- name: delete_capacities
-- First what is no longer so: a region has one capacity at a time.
DELETE FROM capacity_registry WHERE (region, capacity_w, valid) NOT IN (TABLE wanted_capacities);

-- name: insert_capacities
-- Then what is new.
INSERT INTO capacity_registry (region, capacity_w, valid) TABLE wanted_capacities EXCEPT TABLE capacity_registry;

-- name: delete_devices
-- First what is no longer so: two rows must not claim one device, or one meter, at the same time.
DELETE FROM device_registry AS d
WHERE NOT EXISTS (
    SELECT FROM wanted_devices AS w
    WHERE (w.gateway_id, w.device, w.meter_id, w.valid) = (d.gateway_id, d.device, d.meter_id, d.valid)
      AND (w.meter_code, w.region, w.timezone, w.max_power_w, w.register_modulus_wh, w.register_resets, w.interval_ms)
          IS NOT DISTINCT FROM
          (d.meter_code, d.region, d.timezone, d.max_power_w, d.register_modulus_wh, d.register_resets, d.interval_ms));

-- name: insert_devices
-- Then what is new.
INSERT INTO device_registry
    (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh,
    register_resets, interval_ms, valid)
TABLE wanted_devices
EXCEPT
SELECT gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, register_modulus_wh,
    register_resets, interval_ms, valid
FROM device_registry;

-- name: mark_exchanges
-- Energy around exchanges that are new, told otherwise, or taken back is computed again.
WITH changed AS (
    SELECT DISTINCT c.meter_id, c.starts_at
    FROM ((TABLE wanted_epochs EXCEPT TABLE register_epochs) UNION (TABLE register_epochs EXCEPT TABLE wanted_epochs)) AS c
)
SELECT mark_meters(1, ARRAY[c.meter_id], c.starts_at, c.starts_at, clock_timestamp()) FROM changed AS c;

-- name: delete_epochs
-- First what is no longer so.
DELETE FROM register_epochs AS e
WHERE NOT EXISTS (SELECT FROM wanted_epochs AS w
                  WHERE (w.meter_id, w.register, w.starts_at) = (e.meter_id, e.register, e.starts_at)
                    AND (w.final_value, w.first_value) IS NOT DISTINCT FROM (e.final_value, e.first_value));

-- name: insert_epochs
-- Then what is new.
INSERT INTO register_epochs (meter_id, register, starts_at, final_value, first_value)
TABLE wanted_epochs EXCEPT TABLE register_epochs;

-- name: remember
-- What was copied, and what it made of the registry.
UPDATE registry_version SET copied_token = %(token)s, copied_version = version;
