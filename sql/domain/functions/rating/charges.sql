CREATE OR REPLACE FUNCTION rate_charges() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rating_lines (account_id, month, component, quantity, unit, unit_price, amount)
    SELECT m.account_id, m.month, 'fixed', s.quantity, t.fixed_unit, t.fixed, s.quantity * t.fixed
      FROM rating_months AS m
      JOIN rating_terms AS t USING (tariff_id)
     CROSS JOIN LATERAL (SELECT days_as(t.fixed_unit, m.days_counted, m.days_in_month) AS quantity) AS s
     WHERE t.fixed <> 0;
    INSERT INTO rating_lines (account_id, month, component, quantity, unit, unit_price, amount)
    SELECT m.account_id, m.month, 'baseline', s.kwh, 'kWh', -t.baseline_credit, -s.kwh * t.baseline_credit
      FROM rating_months AS m
      JOIN rating_terms AS t USING (tariff_id)
      LEFT JOIN (SELECT u.account_id, u.month, sum(u.bought_wh) * 0.001 AS kwh FROM rating_use AS u GROUP BY u.account_id, u.month) AS u USING (account_id, month)
      LEFT JOIN (SELECT n.account_id, n.month, sum(n.charged_kwh) AS kwh FROM rating_nets AS n WHERE n.period IS NOT NULL GROUP BY n.account_id, n.month) AS n USING (account_id, month)
     CROSS JOIN LATERAL (
        SELECT least(coalesce(n.kwh, u.kwh, 0), t.baseline_kwh[EXTRACT(month FROM m.month)::integer] * m.days_counted) AS kwh) AS s
     WHERE t.baseline_kwh IS NOT NULL AND s.kwh > 0;
    INSERT INTO rating_lines (account_id, month, component, period, quantity, unit, unit_price, amount)
    SELECT n.account_id, n.month, 'export', NULL, n.bank_kwh, 'kWh', -t.yearend_sell_rate, -n.bank_kwh * t.yearend_sell_rate
      FROM rating_nets AS n
      JOIN rating_months AS m USING (account_id, month)
      JOIN rating_terms AS t USING (tariff_id)
     WHERE n.period IS NULL AND EXTRACT(month FROM n.month) = t.credit_month AND n.bank_kwh > 0;
    -- The power factor of the month, to the hundredth that bands are counted in, and the one band that it lies in: what
    -- costs more is counted down from the band's upper end, what costs less up from its lower one.
    INSERT INTO rating_lines (account_id, month, component, quantity, unit, unit_price, amount)
    SELECT e.account_id, e.month, 'power_factor', p.percent, 'percent', e.amount * 0.01, e.amount * p.percent * 0.01
      FROM (SELECT l.account_id, l.month, sum(l.amount) AS amount FROM rating_lines AS l WHERE l.component = 'energy' GROUP BY l.account_id, l.month) AS e
      JOIN rating_months AS m USING (account_id, month)
      JOIN rating_terms AS t USING (tariff_id)
      JOIN (SELECT u.account_id, u.month, sum(u.import_wh) AS wh, sum(u.import_varh) AS varh FROM rating_use AS u GROUP BY u.account_id, u.month) AS u USING (account_id, month)
     CROSS JOIN LATERAL (SELECT CASE WHEN u.wh > 0 THEN round(ratio(u.wh, sqrt(u.wh * u.wh + u.varh * u.varh)), 2) END AS factor) AS f
     CROSS JOIN LATERAL (
        SELECT b.percent * 100 * CASE WHEN b.above IS NULL OR b.below IS NOT NULL AND b.percent > 0 THEN b.below - f.factor ELSE f.factor - b.above END AS percent
          FROM (SELECT (x.band ->> 'percent_per_0_01')::numeric AS percent, (x.band ->> 'above')::numeric AS above, (x.band ->> 'below')::numeric AS below
                  FROM jsonb_array_elements(t.document -> 'power_factor') AS x (band)) AS b
         WHERE f.factor >= coalesce(b.above, 0) AND (f.factor < b.below OR coalesce(b.below, 1) = 1)) AS p
     WHERE p.percent <> 0;
    UPDATE rating_lines AS l SET billed = CASE WHEN t.rounding = 'line' THEN round(whole_of(l.amount), t.digits) ELSE l.amount END
      FROM rating_months AS m JOIN rating_terms AS t USING (tariff_id)
     WHERE m.account_id = l.account_id AND m.month = l.month;
    INSERT INTO rating_lines (account_id, month, component, quantity, unit, unit_price, amount, billed)
    SELECT m.account_id, m.month, 'minimum', s.quantity, t.minimum_unit, t.minimum, greatest(s.quantity * t.minimum - s.amount, 0),
           CASE WHEN t.rounding = 'line' THEN round(whole_of(greatest(s.quantity * t.minimum - s.billed, 0)), t.digits)
                ELSE greatest(s.quantity * t.minimum - s.amount, 0) END
      FROM rating_months AS m
      JOIN rating_terms AS t USING (tariff_id)
      LEFT JOIN (SELECT l.account_id, l.month, sum(l.amount) AS amount, sum(l.billed) AS billed FROM rating_lines AS l
                  WHERE l.component IN ('energy', 'power_factor', 'demand_flat', 'demand_tou', 'fixed') GROUP BY l.account_id, l.month) AS c USING (account_id, month)
     CROSS JOIN LATERAL (SELECT days_as(t.minimum_unit, m.days_counted, m.days_in_month) AS quantity, coalesce(c.amount, 0) AS amount, coalesce(c.billed, 0) AS billed) AS s
     WHERE s.quantity * t.minimum > least(s.amount, s.billed);
END
$$;
COMMENT ON FUNCTION rate_charges() IS 'Seventh step of rate(): fixed charge, baseline and year-end credit, power factor, and what is missing to the minimum';

CREATE OR REPLACE FUNCTION days_as(p_unit text, p_days integer, p_days_in_month integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE p_unit WHEN 'day' THEN p_days WHEN 'month' THEN CASE WHEN p_days = p_days_in_month THEN 1 ELSE ratio(p_days, p_days_in_month) END
                       WHEN 'year' THEN ratio(p_days, p_days_in_month * 12) END;
$$;
COMMENT ON FUNCTION days_as(text, integer, integer) IS 'Days of a month as a number of days, of months, or of years of twelve equal months';
