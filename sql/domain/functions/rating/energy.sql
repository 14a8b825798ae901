CREATE OR REPLACE FUNCTION rate_use() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rating_use
    SELECT i.account_id, c.month, c.period, c.demand_period, sum(i.import_wh), sum(i.export_wh),
           sum(CASE WHEN t.rule = 'buy_all_sell_all' THEN i.gross_load_wh ELSE i.import_wh END),
           sum(CASE WHEN t.rule = 'buy_all_sell_all' THEN i.pv_gen_wh ELSE i.export_wh END),
           sum(CASE WHEN NOT t.price_series THEN 0 WHEN t.rule = 'buy_all_sell_all' THEN i.gross_load_wh * i.buy_per_kwh ELSE i.import_wh * i.buy_per_kwh END) * 0.001,
           sum(CASE WHEN NOT t.price_series THEN 0 WHEN t.rule = 'buy_all_sell_all' THEN i.pv_gen_wh * i.sell_per_kwh ELSE i.export_wh * i.sell_per_kwh END) * 0.001,
           sum(i.import_varh),
           max(coalesce(i.peak_wh, CASE WHEN t.rule = 'buy_all_sell_all' THEN i.gross_load_wh ELSE i.import_wh END)),
           max(quality_rank(i.quality)), sum(i.version), min(i.starts_at),
           max(coalesce(i.ends_at, i.starts_at + make_interval(secs => t.interval_s)))
      FROM rating_intervals AS i
      JOIN rating_accounts AS a USING (account_id)
      JOIN rating_terms AS t USING (tariff_id)
      JOIN rating_calendar AS c ON c.tariff_id = a.tariff_id AND c.starts_at = i.starts_at
     WHERE c.day >= a.first_day AND c.day < a.end_day
     GROUP BY i.account_id, c.month, c.period, c.demand_period;
    IF rating_many() THEN
        ANALYZE rating_use;
    END IF;
END
$$;
COMMENT ON FUNCTION rate_use() IS 'Third step of rate(): energy, highest energy of an interval, and dynamic amounts of each account, month and pair of periods';

-- What is banked follows max(0, bank - net) from month to month. That is the running sum of surplus less its lowest point
-- so far, so that no month has to wait for the one before it. A year's bank ends with its credit month.
CREATE OR REPLACE FUNCTION rate_nets() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rating_nets (account_id, month, period, net_kwh, bank_kwh, charged_kwh)
    WITH net AS (
        SELECT m.account_id, m.month, p.period, coalesce(u.kwh, 0) AS kwh,
               (EXTRACT(year FROM m.month)::integer * 12 + EXTRACT(month FROM m.month)::integer - 1 - t.credit_month) / 12 AS net_year
          FROM rating_months AS m
          JOIN rating_terms AS t ON t.tariff_id = m.tariff_id AND t.rule = 'net_metering'
          JOIN (SELECT DISTINCT tariff_id, period FROM rating_rates WHERE component = 'energy' UNION ALL SELECT tariff_id, NULL FROM rating_terms) AS p
            ON p.tariff_id = m.tariff_id
          LEFT JOIN (
              SELECT u.account_id, u.month, u.period, sum(u.bought_wh - u.sold_wh) * 0.001 AS kwh
                FROM rating_use AS u GROUP BY GROUPING SETS ((u.account_id, u.month, u.period), (u.account_id, u.month))) AS u
            ON u.account_id = m.account_id AND u.month = m.month AND u.period IS NOT DISTINCT FROM p.period
    ), opened AS (
        SELECT n.*, coalesce(CASE WHEN n.net_year = min(n.net_year) OVER (PARTITION BY n.account_id) THEN b.kwh END, 0) AS opening
          FROM net AS n LEFT JOIN rating_banks AS b ON b.account_id = n.account_id AND b.period IS NOT DISTINCT FROM n.period
    ), summed AS (
        SELECT o.*, o.opening - sum(o.kwh) OVER w AS surplus
          FROM opened AS o WINDOW w AS (PARTITION BY o.account_id, o.period, o.net_year ORDER BY o.month)
    ), banked AS (
        SELECT s.*, s.surplus - least(0, min(s.surplus) OVER w) AS bank
          FROM summed AS s WINDOW w AS (PARTITION BY s.account_id, s.period, s.net_year ORDER BY s.month)
    )
    SELECT b.account_id, b.month, b.period, b.kwh, b.bank, b.kwh + b.bank - lag(b.bank, 1, b.opening) OVER w
      FROM banked AS b WINDOW w AS (PARTITION BY b.account_id, b.period, b.net_year ORDER BY b.month);
    IF rating_many() THEN
        ANALYZE rating_nets;
    END IF;
END
$$;
COMMENT ON FUNCTION rate_nets() IS 'Fourth step of rate(): net metering''s rest and bank of each account, month and period, and (period NULL) of all';

CREATE OR REPLACE FUNCTION rate_energy(p_sold boolean) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- Tables and not one statement: how many rows there are decides how they are joined.
    DELETE FROM rating_flow;
    DELETE FROM rating_tiered;
    -- The energy that is priced, of each period, and the month's.
    INSERT INTO rating_flow
    WITH flow AS (
        SELECT u.account_id, u.month, u.period, m.tariff_id, m.days_counted, x.ordered, t.is_volume, t.price_series,
               coalesce(n.charged_kwh * 1000, sum(CASE WHEN p_sold THEN u.sold_wh ELSE u.bought_wh END)) AS wh,
               sum(CASE WHEN p_sold THEN u.sold_amount ELSE u.bought_amount END) AS dynamic,
               quality_of_rank(max(u.quality_rank)) AS quality, sum(u.version) AS version, min(u.first_at) AS first_at, max(u.last_at) AS last_at
          FROM rating_use AS u
          JOIN rating_months AS m USING (account_id, month)
          JOIN rating_terms AS t USING (tariff_id)
          LEFT JOIN rating_nets AS n ON n.account_id = u.account_id AND n.month = u.month AND n.period = u.period
         CROSS JOIN LATERAL (SELECT CASE WHEN p_sold THEN t.sell_ordered ELSE t.buy_ordered END AS ordered) AS x
         WHERE NOT (p_sold AND t.rule = 'net_metering')
         GROUP BY u.account_id, u.month, u.period, m.tariff_id, m.days_counted, x.ordered, t.is_volume, t.price_series, n.charged_kwh
    )
    SELECT f.*, sum(f.wh) OVER (PARTITION BY f.account_id, f.month) AS total_wh FROM flow AS f;
    IF rating_many() THEN
        ANALYZE rating_flow;
    END IF;
    INSERT INTO rating_tiered (account_id, month, period, tier, wh)
    WITH shared AS (
        -- By sums of periods: of each tier its share of the month's total, or all of it in the tier that the total is in.
        SELECT f.account_id, f.month, f.period, l.tier,
               CASE WHEN f.is_volume OR l.from_wh = 0 AND l.to_wh >= f.total_wh THEN f.wh
                    ELSE ratio(f.wh * (least(f.total_wh, l.to_wh) - l.from_wh), f.total_wh) END AS wh
          FROM rating_flow AS f
          JOIN rating_limits AS l ON l.tariff_id = f.tariff_id AND l.month = f.month AND l.days_counted = f.days_counted AND l.period = f.period
         WHERE NOT f.ordered AND f.wh > 0 AND f.total_wh > l.from_wh AND NOT (f.is_volume AND f.total_wh > l.to_wh)
    ), course AS (
        -- By intervals: what the month had before each, and after it.
        SELECT i.account_id, c.month, c.period, m.tariff_id, m.days_counted, sum(x.wh) OVER w - x.wh AS before_wh, sum(x.wh) OVER w AS after_wh
          FROM rating_intervals AS i
          JOIN rating_accounts AS a USING (account_id)
          JOIN rating_terms AS t ON t.tariff_id = a.tariff_id AND CASE WHEN p_sold THEN t.sell_ordered ELSE t.buy_ordered END
          JOIN rating_calendar AS c ON c.tariff_id = a.tariff_id AND c.starts_at = i.starts_at
          JOIN rating_months AS m ON m.account_id = i.account_id AND m.month = c.month
         CROSS JOIN LATERAL (SELECT CASE WHEN t.rule = 'buy_all_sell_all' AND p_sold THEN i.pv_gen_wh WHEN t.rule = 'buy_all_sell_all' THEN i.gross_load_wh
                                         WHEN p_sold THEN i.export_wh ELSE i.import_wh END AS wh) AS x
         WHERE c.day >= a.first_day AND c.day < a.end_day
        WINDOW w AS (PARTITION BY i.account_id, c.month ORDER BY i.starts_at ROWS UNBOUNDED PRECEDING)
    )
    SELECT s.account_id, s.month, s.period, s.tier, s.wh FROM shared AS s
    UNION ALL
    SELECT o.account_id, o.month, o.period, l.tier, sum(least(o.after_wh, l.to_wh) - greatest(o.before_wh, l.from_wh))
      FROM course AS o
      JOIN rating_limits AS l ON l.tariff_id = o.tariff_id AND l.month = o.month AND l.days_counted = o.days_counted AND l.period = o.period
                             AND o.after_wh > l.from_wh AND o.before_wh < l.to_wh
     GROUP BY o.account_id, o.month, o.period, l.tier;
    IF rating_many() THEN
        ANALYZE rating_tiered;
    END IF;
    INSERT INTO rating_lines (account_id, month, component, period, tier, quantity, unit, unit_price, amount, quality, version, first_at, last_at)
    SELECT f.account_id, f.month, x.component, f.period, s.tier, s.wh * 0.001, 'kWh', x.price, s.wh * 0.001 * x.price,
           f.quality, f.version, f.first_at, f.last_at
      FROM rating_flow AS f
      JOIN rating_tiered AS s USING (account_id, month, period)
      JOIN rating_limits AS l ON l.tariff_id = f.tariff_id AND l.month = f.month AND l.days_counted = f.days_counted
                             AND l.period = f.period AND l.tier = s.tier
     CROSS JOIN LATERAL (SELECT CASE WHEN p_sold THEN 'export' ELSE 'energy' END AS component,
                                CASE WHEN p_sold THEN -l.sell ELSE l.price END AS price) AS x
     WHERE s.wh > 0 AND x.price IS NOT NULL AND NOT (f.price_series AND x.price = 0)
    UNION ALL
    -- Prices of a series: what a kWh was on the average is shown, and never computed with.
    SELECT f.account_id, f.month, CASE WHEN p_sold THEN 'export' ELSE 'energy' END, f.period, NULL, f.wh * 0.001, 'kWh',
           CASE WHEN p_sold THEN -1 ELSE 1 END * round(f.dynamic * 1000 / f.wh, 8), CASE WHEN p_sold THEN -1 ELSE 1 END * f.dynamic,
           f.quality, f.version, f.first_at, f.last_at
      FROM rating_flow AS f
      JOIN rating_terms AS t USING (tariff_id)
     WHERE f.price_series AND NOT t.regional AND f.wh > 0 AND f.dynamic IS NOT NULL;
    IF p_sold OR NOT EXISTS (SELECT FROM rating_terms AS t WHERE t.regional) THEN
        RETURN;
    END IF;
    -- Prices of a region are few: each is a line, with what was taken at it.
    INSERT INTO rating_lines (account_id, month, component, period, tier, quantity, unit, unit_price, amount, quality, version, first_at, last_at)
    SELECT i.account_id, c.month, 'energy', c.period, i.price_tier, sum(x.wh) * 0.001, 'kWh', i.buy_per_kwh, sum(x.wh) * 0.001 * i.buy_per_kwh,
           quality_of_rank(max(quality_rank(i.quality))), sum(i.version), min(i.starts_at), max(coalesce(i.ends_at, i.starts_at + make_interval(secs => t.interval_s)))
      FROM rating_intervals AS i
      JOIN rating_accounts AS a USING (account_id)
      JOIN rating_terms AS t ON t.tariff_id = a.tariff_id AND t.regional
      JOIN rating_calendar AS c ON c.tariff_id = a.tariff_id AND c.starts_at = i.starts_at
     CROSS JOIN LATERAL (SELECT CASE WHEN t.rule = 'buy_all_sell_all' THEN i.gross_load_wh ELSE i.import_wh END AS wh) AS x
     WHERE c.day >= a.first_day AND c.day < a.end_day AND x.wh > 0
     GROUP BY i.account_id, c.month, c.period, i.price_tier, i.buy_per_kwh;
END
$$;
COMMENT ON FUNCTION rate_energy(boolean) IS 'Fifth step of rate(): the lines of the energy bought, or sold, in each period and tier';
