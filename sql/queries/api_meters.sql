-- Statements of the API about meters. Domain database, but for latest; the tables' policies say which rows there are.

-- name: page
-- One page in the order of their numbers; one more than is shown says whether there is another.
SELECT m.meter_id, m.meter_code AS code, m.status, m.model, m.serial, m.region, m.timezone, m.site, m.latitude_deg,
    m.longitude_deg, m.max_power_w, m.register_modulus_wh, m.register_resets, m.created_at, m.updated_at
FROM meters_now AS m
WHERE m.meter_id > %(after)s AND (%(region)s::text IS NULL OR m.region = %(region)s)
ORDER BY m.meter_id LIMIT %(limit)s + 1;

-- name: own_page
-- The same for a customer, whose meters are few among all.
SELECT m.meter_id, m.meter_code AS code, m.status, m.model, m.serial, m.region, m.timezone, m.site, m.latitude_deg,
    m.longitude_deg, m.max_power_w, m.register_modulus_wh, m.register_resets, m.created_at, m.updated_at
FROM unnest(caller_meters()) AS mine (meter_id) JOIN meters_now AS m USING (meter_id)
WHERE m.meter_id > %(after)s AND (%(region)s::text IS NULL OR m.region = %(region)s)
ORDER BY m.meter_id LIMIT %(limit)s + 1;

-- name: meter
-- One meter.
SELECT m.meter_id, m.meter_code AS code, m.status, m.model, m.serial, m.region, m.timezone, m.site, m.latitude_deg,
    m.longitude_deg, m.max_power_w, m.register_modulus_wh, m.register_resets, m.created_at, m.updated_at
FROM meters_now AS m WHERE m.meter_code = %(code)s;

-- name: readable
-- When the caller may read what the meter measured.
SELECT m.meter_id, m.meter_code AS code,
    jsonb_build_object(m.meter_id, (SELECT jsonb_agg(jsonb_build_array(lower(s), upper(s))) FROM unnest(caller_spans(m.meter_id)) AS s))
        AS grants
FROM meters AS m WHERE m.meter_code = %(code)s AND NOT isempty(caller_spans(m.meter_id));

-- name: latest
-- Telemetry database: the newest reading within what is kept of readings.
SELECT * FROM latest_values(ARRAY[%(meter_id)s]::integer[], %(now)s - INTERVAL '7 days', %(now)s + INTERVAL '1 day');
