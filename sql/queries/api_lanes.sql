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
-- Telemetry database, many questions at once: the newest reading of each meter within what is kept of readings, and of each
-- question only what its own grants allow.
SELECT q.n, l.meter_id, l.reading
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS q (grants, meters, now, n)
CROSS JOIN LATERAL latest_granted(q.grants, q.meters::integer[], q.now) AS l;

-- name: arrivals
-- Telemetry database: readings of the meters that arrived since a cursor, and the next cursor.
SELECT a.cursor, a.readings
FROM (SELECT set_config('segs.grants', $1::text, true) AS told) AS g
CROSS JOIN LATERAL arrivals(CASE WHEN g.told <> '' THEN $2::integer[] END, $3::text) AS a;

-- name: arrived
-- Telemetry database: of which of these meters something may have arrived since a cursor, and the next cursor.
SELECT cursor, meters FROM arrived($1::integer[], $2::text);
