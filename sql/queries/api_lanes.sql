-- Statements that the API prepares once and asks all the time, see cloud/db/lane.py. Each is a transaction of its own.

-- name: readable
-- Domain database: who asks, and which of the meters they may read if they are a customer. role is NULL where the session is
-- over.
SELECT role, codes, meters, grants
FROM readable_meters($1::integer, $2::uuid, $3::uuid, $4::timestamptz, $5::text[]);

-- name: watched
-- Domain database: the same for operators and admins, whose look is written down first.
SELECT role, codes, meters, grants, second_factor_missing
FROM readable_meters_watched($1::integer, $2::uuid, $3::uuid, $4::timestamptz, $5::text[], $6::text, $7::text, $8::interval);

-- name: latest
-- Telemetry database: the newest reading of each meter within what is kept of readings. What may be read is told first.
SELECT l.meter_id, (SELECT row_to_json(r) FROM (
    SELECT l.time, l.flags, l.power_w, l.power_l1_w, l.power_l2_w, l.power_l3_w, l.apparent_power_va, l.reactive_power_var,
        l.power_factor, l.voltage_l1_v, l.voltage_l2_v, l.voltage_l3_v, l.current_l1_a, l.current_l2_a, l.current_l3_a,
        l.frequency_hz, l.energy_import_wh, l.energy_export_wh, l.reactive_energy_import_varh, l.reactive_energy_export_varh
) AS r)
FROM (SELECT set_config('segs.grants', $1::text, true) AS told) AS g
CROSS JOIN LATERAL latest_values(CASE WHEN g.told <> '' THEN $2::integer[] END, $3::timestamptz - INTERVAL '7 days',
                                 $3::timestamptz + INTERVAL '1 day') AS l;

-- name: arrivals
-- Telemetry database: readings of the meters that arrived since a cursor, and the next cursor.
SELECT a.cursor, a.readings
FROM (SELECT set_config('segs.grants', $1::text, true) AS told) AS g
CROSS JOIN LATERAL arrivals(CASE WHEN g.told <> '' THEN $2::integer[] END, $3::text) AS a;
