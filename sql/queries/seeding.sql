-- People, meters and a month of history for a data folder that is to be shown. Domain database, but for those that say otherwise.

-- name: known
-- Whether the gateway of the history is there.
SELECT EXISTS (SELECT FROM gateways WHERE name = %(gateway)s);

-- name: actor
-- In whose name it is done.
SELECT set_config('segs.actor', %(actor)s, true);

-- name: region
-- A region; one that is there already keeps its capacity if it has one.
SELECT region_set(%(region)s, %(name)s, %(timezone)s,
    COALESCE((SELECT capacity_w FROM regions WHERE region = %(region)s), %(capacity_w)s), %(now)s);

-- name: person
-- Somebody with a password, and an operator's regions.
SELECT user_create(%(email)s, %(name)s, NULL, %(region)s, %(role)s, %(password_hash)s, %(regions)s::text[], %(now)s);

-- name: give
-- Whose a meter is from an instant on; NULL for the beginning of time.
SELECT meter_give(%(code)s, %(user_id)s, COALESCE(%(from)s, '-infinity'::timestamptz), %(now)s);

-- name: tariff
-- Prices of a region.
SELECT tariff_add(%(code)s, %(document)s, %(region)s, %(from)s, NULL, NULL, %(now)s);

-- name: assign
-- A meter is billed by them.
SELECT meter_assign(%(code)s, %(tariff)s, %(from)s, %(now)s);

-- name: actor_of_session
-- In whose name it is done until the connection ends.
SELECT set_config('segs.actor', %(actor)s, false);

-- name: to_bill
-- Code of a meter, and how many days people have to pay.
SELECT m.meter_code, s.payment_days FROM meters AS m CROSS JOIN billing_settings AS s WHERE m.serial = %(serial)s;

-- name: set_payment_days
-- The same, anew.
UPDATE billing_settings SET payment_days = %(days)s;

-- name: exchange
-- Another meter, told when it was put in.
SELECT meter_exchange(%(code)s, %(at)s, NULL, %(serial)s, %(final_import_wh)s, NULL, %(first_import_wh)s, NULL, %(at)s);

-- name: hand_out
-- Meters that a gateway reads now, in turn to people who are given by their addresses.
WITH person AS (
    SELECT u.user_id, row_number() OVER (ORDER BY u.email) - 1 AS nth, count(*) OVER () AS people
    FROM users AS u WHERE u.email = ANY (%(people)s)
), meter AS (
    SELECT m.meter_code, row_number() OVER (ORDER BY m.meter_id) - 1 AS nth
    FROM devices AS d JOIN gateways AS g USING (gateway_id) JOIN meters AS m USING (meter_id)
    WHERE g.name = %(gateway)s AND upper(d.valid) = 'infinity'
)
SELECT meter_give(m.meter_code, p.user_id, '-infinity', %(now)s) FROM meter AS m JOIN person AS p ON m.nth %% p.people = p.nth;

-- name: take_back
-- Meters that a gateway reads now and that are somebody's.
SELECT meter_give(m.meter_code, NULL, %(now)s, %(now)s)
FROM devices AS d JOIN gateways AS g USING (gateway_id) JOIN meters AS m USING (meter_id)
JOIN meter_owners AS o ON o.meter_id = m.meter_id AND upper(o.valid) = 'infinity'
WHERE g.name = %(gateway)s AND upper(d.valid) = 'infinity';

-- name: reading
-- Gateways whose names are like this regular expression, and that read meters now.
SELECT DISTINCT g.name FROM gateways AS g JOIN devices AS d USING (gateway_id) WHERE g.name ~ %(names)s AND upper(d.valid) = 'infinity' ORDER BY g.name;

-- name: end
-- Registrations of the gateway's devices end.
SELECT device_unregister(g.name, d.device, %(now)s)
FROM devices AS d JOIN gateways AS g USING (gateway_id)
WHERE g.name = %(gateway)s AND upper(d.valid) = 'infinity';

-- name: workers
-- Telemetry database: how many workers are connected; they go by another clock than the history.
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'segs-worker';

-- name: meters
-- Telemetry database: the meters of the history, by their device.
SELECT d.device, d.meter_id FROM device_registry AS d JOIN gateway_registry AS g USING (gateway_id) WHERE g.name = %(gateway)s;

-- name: energy
-- Telemetry database: what a meter's quarter-hours add up to, and from %(since)s on these and its minutes.
SELECT q.import_wh, q.export_wh, q.since_wh, m.since_wh
FROM (SELECT COALESCE(sum(energy_import_wh), 0)::bigint AS import_wh, COALESCE(sum(energy_export_wh), 0)::bigint AS export_wh,
             COALESCE(sum(energy_import_wh + COALESCE(energy_export_wh, 0)) FILTER (WHERE bucket >= %(since)s), 0)::bigint AS since_wh
      FROM aggregates_15m WHERE meter_id = %(meter_id)s AND bucket >= %(begin)s AND bucket <= %(end)s) AS q,
     (SELECT COALESCE(sum(energy_import_wh + COALESCE(energy_export_wh, 0)), 0)::bigint AS since_wh
      FROM aggregates_1m WHERE meter_id = %(meter_id)s AND bucket >= %(since)s AND bucket <= %(end)s) AS m;

-- name: left
-- Telemetry database: readings that were not stored, and marks that failed.
SELECT (SELECT COALESCE(sum(readings), 0)::bigint FROM quarantine AS q JOIN gateway_registry AS g USING (gateway_id) WHERE g.name = %(gateway)s),
    (SELECT count(*) FROM failed_marks);

-- name: forget_alerts
-- Telemetry database: rules look at nothing of a history that is made up; `segs-cloud alerts replay` does when asked. Other meters
-- keep their marks.
WITH seeded AS (
    SELECT array_agg(d.meter_id) AS meters FROM device_registry AS d JOIN gateway_registry AS g USING (gateway_id) WHERE g.name = %(gateway)s
), shared AS (
    UPDATE dirty_alerts AS a SET meters = ARRAY(SELECT m FROM unnest(a.meters) AS m WHERE m <> ALL (s.meters))
      FROM seeded AS s WHERE a.meters && s.meters AND NOT a.meters <@ s.meters
)
DELETE FROM dirty_alerts AS a USING seeded AS s WHERE a.meters <@ s.meters;

-- name: connect
-- What alerts have to know of the meters that a gateway reads: the rating, and which may feed in.
UPDATE meters AS m SET rated_power_w = s.rated_power_w, exports = s.exports
FROM devices AS d JOIN gateways AS g USING (gateway_id)
    JOIN unnest(%(devices)s::text[], %(rated_power_w)s::float8[], %(exports)s::boolean[]) AS s (device, rated_power_w, exports) ON s.device = d.device
WHERE m.meter_id = d.meter_id AND g.name = %(gateway)s AND upper(d.valid) = 'infinity';
