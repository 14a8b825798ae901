-- Statements of the API about meters. Domain database, but for those that say otherwise; the tables' policies say which
-- rows there are.

-- name: named
-- Whether there are the region and the gateway that a list is asked for.
SELECT %(region)s::text IS NULL OR EXISTS (SELECT FROM regions WHERE region = %(region)s) AS region,
    %(gateway)s::text IS NULL OR EXISTS (SELECT FROM gateways WHERE name = %(gateway)s) AS gateway;

-- name: page
-- One page in the order of their numbers; one more than is shown says whether there is another.
SELECT m.meter_id, m.meter_code AS code, m.status, m.model, m.serial, m.region, m.timezone, m.site, m.latitude_deg,
    m.longitude_deg, m.max_power_w, m.nominal_voltage_v, m.phases, m.rated_power_w, m.exports, m.register_modulus_wh, m.register_resets, m.user_id AS owner_id, m.gateway, m.device,
    m.interval_ms, m.created_at, m.updated_at
FROM meters_now AS m
WHERE m.meter_id > %(after)s AND (%(region)s::text IS NULL OR m.region = %(region)s)
    AND (%(status)s::text IS NULL OR m.status = %(status)s) AND (%(owner)s::integer IS NULL OR m.user_id = %(owner)s)
    AND (%(gateway)s::text IS NULL OR m.gateway = %(gateway)s)
    AND (%(search)s::text IS NULL OR strpos(lower(m.meter_code), lower(%(search)s)) > 0 OR strpos(lower(m.serial), lower(%(search)s)) > 0)
ORDER BY m.meter_id LIMIT %(limit)s + 1;

-- name: own_page
-- The same for a customer, whose meters are few among all.
SELECT m.meter_id, m.meter_code AS code, m.status, m.model, m.serial, m.region, m.timezone, m.site, m.latitude_deg,
    m.longitude_deg, m.max_power_w, m.nominal_voltage_v, m.phases, m.rated_power_w, m.exports, m.register_modulus_wh, m.register_resets, m.user_id AS owner_id, m.gateway, m.device,
    m.interval_ms, m.created_at, m.updated_at
FROM unnest(caller_meters()) AS mine (meter_id) JOIN meters_now AS m USING (meter_id)
WHERE m.meter_id > %(after)s AND (%(region)s::text IS NULL OR m.region = %(region)s)
    AND (%(status)s::text IS NULL OR m.status = %(status)s) AND (%(owner)s::integer IS NULL OR m.user_id = %(owner)s)
    AND (%(gateway)s::text IS NULL OR m.gateway = %(gateway)s)
    AND (%(search)s::text IS NULL OR strpos(lower(m.meter_code), lower(%(search)s)) > 0 OR strpos(lower(m.serial), lower(%(search)s)) > 0)
ORDER BY m.meter_id LIMIT %(limit)s + 1;

-- name: meter
-- One meter.
SELECT m.meter_id, m.meter_code AS code, m.status, m.model, m.serial, m.region, m.timezone, m.site, m.latitude_deg,
    m.longitude_deg, m.max_power_w, m.nominal_voltage_v, m.phases, m.rated_power_w, m.exports, m.register_modulus_wh, m.register_resets, m.user_id AS owner_id, m.gateway, m.device,
    m.interval_ms, m.created_at, m.updated_at
FROM meters_now AS m WHERE m.meter_code = %(code)s;

-- name: locked
-- One meter that the caller may change, which nobody else changes meanwhile.
SELECT m.meter_id FROM meters AS m WHERE m.meter_code = %(code)s FOR NO KEY UPDATE;

-- name: add
-- A meter that nothing reads yet.
SELECT meter_code AS code FROM meter_add(%(region)s, %(timezone)s, %(model)s, %(serial)s, %(max_power_w)s, %(now)s, 'registered');

-- name: change
-- What the document has becomes so; the rest stays.
UPDATE meters AS m
SET (status, model, serial, site, latitude_deg, longitude_deg, max_power_w, nominal_voltage_v, phases, rated_power_w, exports, register_modulus_wh,
     register_resets) = (
    SELECT p.status, p.model, p.serial, p.site, p.latitude_deg, p.longitude_deg, p.max_power_w, p.nominal_voltage_v, p.phases, p.rated_power_w, p.exports,
           p.register_modulus_wh, p.register_resets
    FROM jsonb_populate_record(m, %(change)s::jsonb) AS p)
WHERE m.meter_code = %(code)s;

-- name: locations
-- Where it was, is and will be.
SELECT l.region, l.timezone, nullif(lower(l.valid), '-infinity') AS "from", nullif(upper(l.valid), 'infinity') AS "to"
FROM meter_locations AS l JOIN meters AS m USING (meter_id) WHERE m.meter_code = %(code)s ORDER BY l.valid;

-- name: owners
-- Whose it was, is and will be.
SELECT o.user_id, u.name, nullif(lower(o.valid), '-infinity') AS "from", nullif(upper(o.valid), 'infinity') AS "to"
FROM meter_owners AS o JOIN meters AS m USING (meter_id) LEFT JOIN users AS u ON u.user_id = o.user_id
WHERE m.meter_code = %(code)s ORDER BY o.valid;

-- name: give
-- From then on it is theirs, or nobody's.
SELECT caller_gives_meter(%(code)s, %(user_id)s, %(from)s, %(now)s);

-- name: exchanges
-- Exchanges that stand, and those that were revoked.
SELECT e.exchanged_at AS at, e.old_model, e.old_serial, e.new_model, e.new_serial, e.final_import_wh, e.final_export_wh,
    e.first_import_wh, e.first_export_wh, e.despite, e.revoked_at, e.revoked_reason
FROM meter_exchanges AS e JOIN meters AS m USING (meter_id)
WHERE m.meter_code = %(code)s ORDER BY e.exchanged_at, e.meter_exchange_id;

-- name: exchange_reads
-- Telemetry database: what the readings around an exchange say of its reads.
SELECT register, read, given, near_at, near_value, most, fault
FROM readable_exchange_reads(%(meter_id)s, %(at)s, ARRAY[%(final_import_wh)s, %(final_export_wh)s]::bigint[],
                             ARRAY[%(first_import_wh)s, %(first_export_wh)s]::bigint[]);

-- name: last_reads
-- Telemetry database: the registers that it has, each with its last read.
SELECT register, last_read_at, value FROM readable_last_reads(%(meter_id)s);

-- name: claims
-- Codes that were made for it, the newest first; what they are is kept nowhere.
SELECT c.meter_claim_id AS claim_id, c.issued_by, c.created_at, c.expires_at, c.used_at, c.used_by, c.revoked_at
FROM meter_claims AS c JOIN meters AS m USING (meter_id) WHERE m.meter_code = %(code)s ORDER BY c.meter_claim_id DESC LIMIT 100;

-- name: claim_issue
-- A code in the place of the one before.
SELECT claim_id, expires_at FROM meter_claim_issue(%(code)s, %(code_hash)s, make_interval(days => %(days)s), %(now)s);

-- name: claim_withdraw
-- No code is good for it any more.
SELECT meter_claim_withdraw(%(code)s, %(now)s);

-- name: claim
-- A customer takes a meter by its code.
SELECT outcome, meter_code AS code, retry_after_s FROM meter_claim_use(%(code_hash)s, %(now)s);

-- name: readable
-- When the caller may read what the meter measured.
SELECT m.meter_id, m.meter_code AS code,
    jsonb_build_object(m.meter_id, (SELECT jsonb_agg(jsonb_build_array(lower(s), upper(s))) FROM unnest(caller_spans(m.meter_id)) AS s))
        AS grants
FROM meters AS m WHERE m.meter_code = %(code)s AND NOT isempty(caller_spans(m.meter_id));
