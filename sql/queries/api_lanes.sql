-- Statements that the API prepares once and asks all the time, see cloud/db/lane.py. Each is a transaction of its own.

-- name: readable
-- Domain database, many questions at once: who asks, and which of the meters they may read if they are a customer. role is
-- NULL where the session is over.
SELECT q.n, r.role, r.codes, r.meters, r.grants
FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[])
    WITH ORDINALITY AS q (user_id, family_id, jti, now, codes, n)
CROSS JOIN LATERAL readable_meters(q.user_id, q.family_id, q.jti, q.now, q.codes::text[]) AS r;

-- name: watched
-- Domain database: the same for operators and admins, whose look is written down first.
SELECT role, codes, meters, grants, second_factor_missing
FROM readable_meters_watched($1::integer, $2::uuid, $3::uuid, $4::timestamptz, $5::text[], $6::text, $7::text, $8::interval);

-- name: latest
-- Telemetry database, many questions at once: the newest reading of each meter within what is kept of readings. What may be
-- read is told before each question, in place of what was told for the one before.
SELECT q.n, l.meter_id, (SELECT row_to_json(r) FROM (
    SELECT l.time, l.flags, l.power_w, l.power_l1_w, l.power_l2_w, l.power_l3_w, l.apparent_power_va, l.reactive_power_var,
        l.power_factor, l.voltage_l1_v, l.voltage_l2_v, l.voltage_l3_v, l.current_l1_a, l.current_l2_a, l.current_l3_a,
        l.frequency_hz, l.energy_import_wh, l.energy_export_wh, l.reactive_energy_import_varh, l.reactive_energy_export_varh
) AS r)
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS q (grants, meters, now, n)
CROSS JOIN LATERAL (SELECT set_config('segs.grants', q.grants, true) AS told) AS g
CROSS JOIN LATERAL latest_values(CASE WHEN g.told <> '' THEN q.meters::integer[] END, q.now - INTERVAL '7 days',
                                 q.now + INTERVAL '1 day') AS l;

-- name: arrivals
-- Telemetry database: readings of the meters that arrived since a cursor, and the next cursor.
SELECT a.cursor, a.readings
FROM (SELECT set_config('segs.grants', $1::text, true) AS told) AS g
CROSS JOIN LATERAL arrivals(CASE WHEN g.told <> '' THEN $2::integer[] END, $3::text) AS a;
