CREATE OR REPLACE FUNCTION rate_terms() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rating_rates (tariff_id, component, period, tier, tier_min, tier_max, unit, price, sell)
    SELECT t.tariff_id, r.component, r.period, r.tier, r.tier_min, coalesce(r.tier_max, 'Infinity'), r.unit, r.rate + r.adjustment, r.sell
      FROM rating_tariffs AS t CROSS JOIN LATERAL tariff_rates(t.document) AS r;
    INSERT INTO rating_terms
    SELECT t.tariff_id, d ->> 'timezone', s.interval_s, CASE WHEN 900 % s.interval_s = 0 THEN 900 ELSE s.interval_s END,
           minor_digits(d ->> 'currency'), d ->> 'rounding', d ->> 'proration' = 'days', d #>> '{metering,rule}',
           (d ->> 'price_series')::boolean OR coalesce((d ->> 'regional_price')::boolean, false), coalesce((d ->> 'regional_price')::boolean, false),
           d ->> 'tier_basis' = 'volume',
           -- Where an interval is priced by what came before it, intervals are needed; otherwise sums of periods are.
           s.chronological AND r.tiers > 1, s.chronological AND r.sells > 1,
           (d #>> '{metering,credit_month}')::integer, (d #>> '{metering,yearend_sell_rate}')::numeric,
           (d ->> 'fixedchargefirstmeter')::numeric, split_part(d ->> 'fixedchargeunits', '/', 2),
           (d ->> 'mincharge')::numeric, split_part(d ->> 'minchargeunits', '/', 2),
           (d ->> 'lookbackpercent')::numeric, (d ->> 'lookbackrange')::integer,
           (SELECT array_agg(m.n::integer) FROM jsonb_array_elements_text(d -> 'lookbackmonths') WITH ORDINALITY AS m (looked, n) WHERE m.looked::boolean),
           (SELECT array_agg(m.period::integer ORDER BY m.n) FROM jsonb_array_elements_text(d -> 'flatdemandmonths') WITH ORDINALITY AS m (period, n)),
           (SELECT array_agg(m.kwh::numeric ORDER BY m.n) FROM jsonb_array_elements_text(d #> '{baseline,kwh_per_day}') WITH ORDINALITY AS m (kwh, n)),
           (d #>> '{baseline,credit_per_kwh}')::numeric, d
      FROM rating_tariffs AS t
     CROSS JOIN LATERAL (SELECT t.document) AS x (d)
     CROSS JOIN LATERAL (
        SELECT (d ->> 'interval_s')::integer AS interval_s,
               d ->> 'tier_allocation' = 'chronological' AND d ->> 'tier_basis' = 'graduated'
                   AND d #>> '{metering,rule}' <> 'net_metering' AS chronological) AS s
     CROSS JOIN LATERAL (
        SELECT max(p.tiers) AS tiers, max(p.sells) AS sells
          FROM (SELECT count(*) AS tiers, count(DISTINCT coalesce(r.sell, 0)) AS sells FROM rating_rates AS r
                 WHERE r.tariff_id = t.tariff_id AND r.component = 'energy' GROUP BY r.period) AS p) AS r;
    IF rating_many() THEN
        ANALYZE rating_terms, rating_rates, rating_accounts, rating_intervals;
    END IF;
END
$$;
COMMENT ON FUNCTION rate_terms() IS 'First step of rate(): the documents of rating_tariffs as rows';

CREATE OR REPLACE FUNCTION rate_calendar() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rating_calendar (tariff_id, starts_at, month, day, period, demand_period)
    SELECT t.tariff_id, c.at, date_trunc('month', c.day)::date, c.day, c.period, c.demand_period
      FROM rating_terms AS t
     CROSS JOIN LATERAL tariff_calendar(t.document, ARRAY(
        SELECT DISTINCT i.starts_at FROM rating_intervals AS i JOIN rating_accounts AS a USING (account_id)
         WHERE a.tariff_id = t.tariff_id)) AS c;
    UPDATE rating_accounts AS a
       SET first_day = coalesce(a.first_day, s.first_day), end_day = coalesce(a.end_day, s.last_day + 1)
      FROM (SELECT i.account_id, min(c.day) AS first_day, max(c.day) AS last_day
              FROM (SELECT i.account_id, min(i.starts_at) AS first_at, max(i.starts_at) AS last_at FROM rating_intervals AS i GROUP BY i.account_id) AS i
              JOIN rating_accounts AS b USING (account_id)
              JOIN rating_calendar AS c ON c.tariff_id = b.tariff_id AND c.starts_at IN (i.first_at, i.last_at)
             GROUP BY i.account_id) AS s
     WHERE s.account_id = a.account_id AND (a.first_day IS NULL OR a.end_day IS NULL);
    INSERT INTO rating_months (account_id, tariff_id, month, days_in_month, days_billed, days_counted)
    SELECT a.account_id, a.tariff_id, m.month, n.days, b.days, CASE WHEN t.prorated THEN b.days ELSE n.days END
      FROM rating_accounts AS a
      JOIN rating_terms AS t USING (tariff_id)
     CROSS JOIN LATERAL (
        SELECT g::date AS month, (g + INTERVAL '1 month')::date AS next_month
          FROM generate_series(date_trunc('month', a.first_day::timestamp), a.end_day::timestamp - INTERVAL '1 day', INTERVAL '1 month') AS g) AS m
     CROSS JOIN LATERAL (SELECT m.next_month - m.month AS days) AS n
     CROSS JOIN LATERAL (SELECT least(a.end_day, m.next_month) - greatest(a.first_day, m.month) AS days) AS b;
    -- Of a month, limits scale with its days: a daily one is for each of them, and both for those that are billed only
    -- where the tariff prorates.
    INSERT INTO rating_limits (tariff_id, month, days_counted, period, tier, from_wh, to_wh, price, sell)
    SELECT r.tariff_id, m.month, m.days_counted, r.period, r.tier, x.from_wh, x.to_wh, r.price, r.sell
      FROM (SELECT DISTINCT tariff_id, month, days_in_month, days_counted FROM rating_months) AS m
      JOIN rating_rates AS r ON r.tariff_id = m.tariff_id AND r.component = 'energy'
     CROSS JOIN LATERAL (
        SELECT CASE WHEN r.unit = 'kWh daily' THEN 1000 * m.days_counted WHEN m.days_counted = m.days_in_month THEN 1000
                    ELSE ratio(1000 * m.days_counted, m.days_in_month) END AS scale) AS s
     CROSS JOIN LATERAL (SELECT r.tier_min * s.scale AS from_wh, r.tier_max * s.scale AS to_wh) AS x;
    IF rating_many() THEN
        ANALYZE rating_calendar, rating_months, rating_limits;
    END IF;
END
$$;
COMMENT ON FUNCTION rate_calendar() IS 'Second step of rate(): the month and the periods of each instant, the days and the tier limits of each month';
