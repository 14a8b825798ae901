CREATE OR REPLACE FUNCTION rate_demand() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rating_demand (account_id, month, demand_period, peak_kw)
    SELECT u.account_id, u.month, u.demand_period, ratio(max(u.peak_wh) * 3.6, t.demand_s)
      FROM rating_use AS u
      JOIN rating_months AS m USING (account_id, month)
      JOIN rating_terms AS t USING (tariff_id)
     WHERE t.demand_s = t.interval_s
     GROUP BY u.account_id, u.month, u.demand_period, t.demand_s;
    -- Intervals shorter than a quarter-hour: demand is the mean of the quarter-hours of the clock.
    INSERT INTO rating_demand (account_id, month, demand_period, peak_kw)
    SELECT q.account_id, q.month, q.demand_period, ratio(max(q.wh) * 3.6, q.demand_s)
      FROM (SELECT i.account_id, c.month, c.demand_period, t.demand_s,
                   CASE WHEN max(i.peak_wh) IS NOT NULL THEN max(i.peak_wh)
                        ELSE sum(CASE WHEN t.rule = 'buy_all_sell_all' THEN i.gross_load_wh ELSE i.import_wh END) END AS wh
              FROM rating_intervals AS i
              JOIN rating_accounts AS a USING (account_id)
              JOIN rating_terms AS t ON t.tariff_id = a.tariff_id AND t.demand_s <> t.interval_s
              JOIN rating_calendar AS c ON c.tariff_id = a.tariff_id AND c.starts_at = i.starts_at
             WHERE c.day >= a.first_day AND c.day < a.end_day
             GROUP BY i.account_id, c.month, c.demand_period, t.demand_s,
                      date_bin(INTERVAL '15 minutes', i.starts_at, TIMESTAMPTZ '2000-01-01 00:00Z')) AS q
     GROUP BY q.account_id, q.month, q.demand_period, q.demand_s;
    UPDATE rating_months AS m SET peak_kw = coalesce(d.peak_kw, 0), billing_demand_kw = coalesce(d.peak_kw, 0)
      FROM rating_months AS n
      LEFT JOIN (SELECT account_id, month, max(peak_kw) AS peak_kw FROM rating_demand GROUP BY account_id, month) AS d USING (account_id, month)
     WHERE m.account_id = n.account_id AND m.month = n.month;
    -- The ratchet looks at actual peaks, so that it does not hold on to itself.
    UPDATE rating_months AS m SET billing_demand_kw = greatest(m.peak_kw, t.ratchet * l.highest_kw)
      FROM rating_terms AS t,
           (SELECT n.account_id, n.month, max(p.peak_kw) AS highest_kw
              FROM rating_months AS n
              JOIN rating_terms AS t USING (tariff_id)
              JOIN (SELECT account_id, month, peak_kw FROM rating_months
                    UNION ALL
                    SELECT p.account_id, (f.month - make_interval(months => p.months_before))::date, p.peak_kw
                      FROM rating_peaks AS p
                      JOIN (SELECT account_id, min(month) AS month FROM rating_months GROUP BY account_id) AS f USING (account_id)) AS p
                ON p.account_id = n.account_id AND p.month < n.month AND p.month >= n.month - make_interval(months => t.lookback)
               AND EXTRACT(month FROM p.month) = ANY (t.lookback_months)
             WHERE t.ratchet > 0
             GROUP BY n.account_id, n.month) AS l
     WHERE t.tariff_id = m.tariff_id AND l.account_id = m.account_id AND l.month = m.month;
    INSERT INTO rating_lines (account_id, month, component, period, tier, quantity, unit, unit_price, amount, quality, version, first_at, last_at)
    SELECT d.account_id, d.month, d.component, d.period, r.tier, k.kw, 'kW', r.price, k.kw * r.price, u.quality, u.version, u.first_at, u.last_at
      FROM (SELECT m.account_id, m.month, m.tariff_id, 'demand_flat' AS component,
                   t.flat_periods[EXTRACT(month FROM m.month)::integer]::smallint AS period, m.billing_demand_kw AS kw
              FROM rating_months AS m JOIN rating_terms AS t USING (tariff_id)
            UNION ALL
            SELECT p.account_id, p.month, m.tariff_id, 'demand_tou', p.demand_period, p.peak_kw
              FROM rating_demand AS p JOIN rating_months AS m USING (account_id, month)) AS d
      JOIN rating_rates AS r ON r.tariff_id = d.tariff_id AND r.component = d.component AND r.period = d.period AND r.tier_min < d.kw
     CROSS JOIN LATERAL (SELECT least(d.kw, r.tier_max) - r.tier_min AS kw) AS k
      LEFT JOIN (SELECT account_id, month, quality_of_rank(max(quality_rank)) AS quality, sum(version) AS version, min(first_at) AS first_at, max(last_at) AS last_at
                   FROM rating_use GROUP BY account_id, month) AS u USING (account_id, month);
END
$$;
COMMENT ON FUNCTION rate_demand() IS 'Sixth step of rate(): peaks, billing demand after the ratchet, and the lines of both kinds of demand charge';
