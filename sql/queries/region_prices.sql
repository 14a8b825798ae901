-- Statements about prices of regions, of the API and of `segs-cloud tariff`. Domain database. When it is, the server says: a
-- clock elsewhere that is behind would set prices for what is over.

-- name: rules
-- By which rules a region's price follows its load; all regions that have one for NULL.
SELECT r.region, t.currency, t.base_price, t.thresholds, t.factors, t.hysteresis, t.coverage
FROM region_price_rules AS r CROSS JOIN LATERAL region_price_terms(r.region) AS t
WHERE %(region)s::text IS NULL OR r.region = %(region)s ORDER BY r.region;

-- name: own
-- What a region says itself, and does not take from price_settings.
SELECT r.currency, r.base_price, r.thresholds_percent AS thresholds, r.factors, r.hysteresis_points AS hysteresis, r.coverage_percent AS coverage
FROM region_price_rules AS r WHERE r.region = %(region)s;

-- name: set
-- Other rules, and a price where there was none.
SELECT region_price_set(%(region)s, %(currency)s, %(base_price)s, %(thresholds)s::numeric[], %(factors)s::numeric[], %(hysteresis)s, %(coverage)s, clock_timestamp());

-- name: spans
-- Prices that are in force from then on.
SELECT s.starts_at AS "from", nullif(s.ends_at, 'infinity') AS "to", s.currency, s.price, s.factor, s.tier, s.load_percent, s.reason, s.override_reason AS said
FROM region_price_spans(%(region)s, coalesce(%(since)s, clock_timestamp()), 'infinity') AS s ORDER BY s.starts_at;

-- name: page
-- One page of prices, the latest first, in the caller's name; one more than is shown says whether there is another.
SELECT p.key, p.starts_at AS "from", p.ends_at AS "to", p.currency, trim_scale(p.price)::text AS price_per_kwh, trim_scale(p.base_price)::text AS base_price_per_kwh,
       trim_scale(p.factor)::text AS factor, p.tier, p.load_percent::float8 AS load_percent, p.reason, p.said,
       p.starts_at <= clock_timestamp() AND coalesce(p.ends_at > clock_timestamp(), true) AS now
FROM caller_region_prices(%(region)s, %(after)s, %(limit)s + 1) AS p ORDER BY p.key DESC;

-- name: now
-- The price that is in force.
SELECT p.starts_at AS "from", p.ends_at AS "to", p.currency, trim_scale(p.price)::text AS price_per_kwh, trim_scale(p.base_price)::text AS base_price_per_kwh,
       trim_scale(p.factor)::text AS factor, p.tier, p.load_percent::float8 AS load_percent, p.reason, p.said
FROM caller_region_prices(%(region)s, (EXTRACT(epoch FROM date_bin(INTERVAL '15 minutes', clock_timestamp(), '2000-01-01Z')) / 900)::integer + 1, 1) AS p;

-- name: overrides
-- Overrides of a region, the latest first: those before a number, and those that the caller sees.
SELECT o.price_override_id AS override_id, trim_scale(o.factor)::text AS factor, trim_scale(o.price)::text AS price_per_kwh, lower(o.valid) AS "from", upper(o.valid) AS until,
       o.reason, o.made_by, o.created_at, o.ended_at, o.ended_by, o.end_reason, NOT isempty(o.in_force) AND o.in_force @> clock_timestamp() AS in_force
FROM price_overrides AS o
WHERE o.region = %(region)s AND (%(after)s = 0 OR o.price_override_id < %(after)s) AND (%(override)s::bigint IS NULL OR o.price_override_id = %(override)s)
ORDER BY o.price_override_id DESC LIMIT %(limit)s + 1;

-- name: add
-- An override, by who runs the system.
SELECT price_override_add(%(region)s, %(factor)s, %(price)s, %(from)s, %(until)s, %(reason)s, clock_timestamp()) AS override_id;

-- name: end
-- Its end.
SELECT price_override_end(%(region)s, %(override)s, %(reason)s, clock_timestamp());

-- name: caller_add
-- An override, by who looks after the region.
SELECT caller_overrides_price(%(region)s, %(factor)s, %(price)s, %(from)s, %(until)s, %(reason)s, clock_timestamp());

-- name: caller_end
-- Its end.
SELECT caller_ends_override(%(region)s, %(override)s, %(reason)s, clock_timestamp());
