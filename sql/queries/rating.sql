-- A tariff and intervals of one metering point, rated in tables of a transaction that is rolled back.

-- name: open
-- The tables.
SELECT rating_open();

-- name: tariff
-- The tariff, for the one account.
WITH tariff AS (INSERT INTO rating_tariffs (tariff_id, document) VALUES (1, %(document)s) RETURNING tariff_id),
     peaks AS (
    INSERT INTO rating_peaks (account_id, months_before, peak_kw)
    SELECT 1, 13 - p.n, p.kw::numeric
      FROM jsonb_array_elements_text(%(document)s::jsonb -> 'prior_year_monthly_peaks_kw') WITH ORDINALITY AS p (kw, n))
INSERT INTO rating_accounts (account_id, tariff_id) SELECT 1, tariff_id FROM tariff;

-- name: intervals
-- The intervals.
COPY rating_intervals (account_id, starts_at, import_wh, export_wh, gross_load_wh, pv_gen_wh, import_varh, buy_per_kwh, sell_per_kwh) FROM STDIN;

-- name: astride
-- The first interval in which the month or a period changes, so that no one price is its own.
WITH quarter AS MATERIALIZED (
    SELECT i.starts_at, q AS at
      FROM rating_intervals AS i
      JOIN rating_accounts AS a USING (account_id)
      JOIN rating_tariffs AS t USING (tariff_id)
     CROSS JOIN LATERAL (SELECT make_interval(secs => (t.document ->> 'interval_s')::integer) AS length) AS l
     CROSS JOIN LATERAL generate_series(i.starts_at, i.starts_at + l.length - INTERVAL '1 second', INTERVAL '15 minutes') AS q
     WHERE l.length > INTERVAL '15 minutes'
), calendar AS MATERIALIZED (
    SELECT c.at, (date_trunc('month', c.day), c.period, c.demand_period) AS here
      FROM rating_tariffs AS t CROSS JOIN LATERAL tariff_calendar(t.document, ARRAY(SELECT q.at FROM quarter AS q)) AS c
)
SELECT q.starts_at FROM quarter AS q JOIN calendar AS c USING (at) GROUP BY q.starts_at HAVING count(DISTINCT c.here) > 1 ORDER BY q.starts_at LIMIT 1;

-- name: rate
-- What it costs.
SELECT rate();

-- name: months
-- The bill of each month, in the currency. Parts of it are as they count in the bill: rounded only if the tariff rounds lines.
SELECT to_char(m.month, 'YYYY-MM') AS month, m.import_kwh, m.export_kwh, m.peak_kw, m.billing_demand_kw, s.*, m.bill, m.bill_unrounded
  FROM rating_months AS m
 CROSS JOIN LATERAL (
    SELECT coalesce(sum(l.billed) FILTER (WHERE l.component IN ('energy', 'power_factor')), 0) AS energy,
           coalesce(sum(l.billed) FILTER (WHERE l.component = 'baseline'), 0) AS baseline,
           coalesce(sum(l.billed) FILTER (WHERE l.component = 'demand_flat'), 0) AS demand_flat,
           coalesce(sum(l.billed) FILTER (WHERE l.component = 'demand_tou'), 0) AS demand_tou,
           coalesce(sum(l.billed) FILTER (WHERE l.component = 'fixed'), 0) AS fixed,
           coalesce(sum(l.billed) FILTER (WHERE l.component = 'export'), 0) AS export_credit,
           coalesce(sum(l.billed) FILTER (WHERE l.component = 'minimum'), 0) AS minimum_topup
      FROM rating_lines AS l WHERE l.account_id = m.account_id AND l.month = m.month) AS s
 ORDER BY m.month;

-- name: taxes
-- Taxes of each month.
SELECT to_char(l.month, 'YYYY-MM') AS month, l.label AS name, l.billed AS amount FROM rating_lines AS l WHERE l.component = 'tax';

-- name: all
-- The bills together, and how many decimal places the currency has.
SELECT sum(m.bill) AS bill, min(t.digits) AS digits FROM rating_months AS m JOIN rating_terms AS t USING (tariff_id);
