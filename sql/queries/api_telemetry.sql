-- Statements of the API about what meters measured. Domain database; the tables' policies say which rows there are.

-- name: readable
-- When the caller may read what the meter measured, and the zone of its days: the last that the caller sees. A meter that they
-- may not read at any time has no row.
SELECT m.meter_id, m.meter_code AS code,
    (SELECT l.timezone FROM meter_locations AS l WHERE l.meter_id = m.meter_id ORDER BY l.valid DESC LIMIT 1) AS timezone,
    (SELECT jsonb_agg(jsonb_build_array(lower(s), upper(s))) FROM unnest(caller_spans(m.meter_id)) AS s) AS spans
FROM meters AS m WHERE m.meter_code = %(code)s AND NOT isempty(caller_spans(m.meter_id));

-- name: region
-- The region, if the caller looks after it.
SELECT r.region, r.timezone FROM regions AS r
WHERE r.region = %(region)s AND (caller_role() = 'ADMIN' OR r.region = ANY (caller_regions()));
