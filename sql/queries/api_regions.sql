-- Statements about regions, of the API and of `segs-cloud region`. Domain database.

-- name: list
-- Regions by name; what they can carry, of those that the caller looks after.
SELECT r.region, r.name, r.timezone, c.capacity_w, nullif(lower(c.valid), '-infinity') AS capacity_since, r.created_at, r.updated_at
FROM regions AS r LEFT JOIN region_capacities AS c ON c.region = r.region AND c.valid @> %(now)s::timestamptz
ORDER BY r.region;

-- name: region
-- One region.
SELECT r.region, r.name, r.timezone, c.capacity_w, nullif(lower(c.valid), '-infinity') AS capacity_since, r.created_at, r.updated_at
FROM regions AS r LEFT JOIN region_capacities AS c ON c.region = r.region AND c.valid @> %(now)s::timestamptz
WHERE r.region = %(region)s;

-- name: there
-- The names that there are, in a sentence.
SELECT regions_there_are();

-- name: capacities
-- What a region could carry, and when.
SELECT c.capacity_w, nullif(lower(c.valid), '-infinity') AS "from", nullif(upper(c.valid), 'infinity') AS "to"
FROM region_capacities AS c WHERE c.region = %(region)s ORDER BY c.valid;

-- name: set
-- Make it, or change what is not NULL.
SELECT region_set(%(region)s, coalesce(%(name)s, r.name, %(region)s), coalesce(%(timezone)s, r.timezone), coalesce(%(capacity_w)s, r.capacity_w), %(now)s)
FROM (SELECT 1) AS one LEFT JOIN regions AS r ON r.region = %(region)s;

-- name: capacity_set
-- From then on, by who runs the system.
SELECT region_capacity_set(%(region)s, %(capacity_w)s, %(from)s, %(now)s);

-- name: caller_capacity_set
-- From then on, by an admin.
SELECT caller_sets_capacity(%(region)s, %(capacity_w)s, %(from)s, %(now)s);

-- name: remove
-- It was made by mistake.
SELECT region_remove(%(region)s);
