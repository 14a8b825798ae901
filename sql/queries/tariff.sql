-- Statements of `segs-cloud tariff`. Domain database.

-- name: add
-- Prices from then on.
SELECT tariff_add(%(code)s, %(document)s, %(region)s, %(from)s, %(reason)s, NULL, %(now)s) AS tariff_id;

-- name: list
-- Tariffs with the price table that holds now, or the first that will.
SELECT c.code, t.name, t.region, t.origin, t.currency, t.timezone, nullif(lower(t.valid), '-infinity') AS "from",
    nullif(upper(t.valid), 'infinity') AS "to",
    (SELECT count(*) FROM meter_tariffs AS m WHERE m.code = c.code AND m.valid @> %(now)s::timestamptz) AS meters
FROM (SELECT DISTINCT code FROM tariffs) AS c
CROSS JOIN LATERAL (
    SELECT t.* FROM tariffs AS t
     WHERE t.code = c.code
     ORDER BY t.tariff_id IS DISTINCT FROM (tariff_at(c.code, %(now)s)).tariff_id, lower(t.valid) <= %(now)s, lower(t.valid) LIMIT 1) AS t
ORDER BY c.code;

-- name: tables
-- The price tables of a tariff, in order of time.
SELECT t.tariff_id, t.name, t.region, t.origin, t.reason, nullif(lower(t.valid), '-infinity') AS "from", nullif(upper(t.valid), 'infinity') AS "to"
FROM tariffs AS t WHERE t.code = %(code)s ORDER BY lower(t.valid), t.tariff_id;

-- name: at
-- The price table that holds at an instant, as it is rated by.
SELECT t.tariff_id, tariff_document(t.tariff_id) AS document FROM tariff_at(%(code)s, %(at)s) AS t WHERE t.tariff_id IS NOT NULL;

-- name: rates
-- Prices of a price table.
SELECT r.component, r.period, r.tier, r.tier_max, r.unit, r.rate + r.adjustment AS price, r.sell
FROM tariff_rules AS r WHERE r.tariff_id = %(tariff_id)s ORDER BY r.component, r.period, r.tier;

-- name: holidays
-- Days that a tariff got besides those of its documents.
SELECT h.day::text AS day, h.name FROM tariff_holidays AS h WHERE h.code = %(code)s ORDER BY h.day;

-- name: holiday
-- One more of them.
SELECT tariff_holiday_add(%(code)s, %(day)s, %(name)s, %(now)s);

-- name: assign
-- A meter is billed by it from then on.
SELECT meter_assign(%(meter)s, %(code)s, %(from)s, %(now)s);

-- name: assignments
-- By which tariffs a meter was, is and will be billed.
SELECT t.code, nullif(lower(t.valid), '-infinity') AS "from", nullif(upper(t.valid), 'infinity') AS "to"
FROM meter_tariffs AS t JOIN meters AS m USING (meter_id) WHERE m.meter_code = %(meter)s ORDER BY t.valid;

-- name: prices
-- Prices of intervals, of a tariff that has a series.
SELECT added, known FROM tariff_prices_add(%(code)s, %(prices)s, %(now)s);
