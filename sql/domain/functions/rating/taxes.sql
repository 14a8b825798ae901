CREATE OR REPLACE FUNCTION rate_taxes() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- One after another, because a tax may be on those before it.
    FOR v_n IN 0 .. (SELECT coalesce(max(jsonb_array_length(t.document -> 'taxes')), 0) - 1 FROM rating_terms AS t) LOOP
        INSERT INTO rating_lines (account_id, month, component, label, quantity, unit, unit_price, amount, billed)
        SELECT b.account_id, b.month, 'tax', b.name, b.percent, 'percent', b.amount * 0.01, b.amount * b.percent * 0.01,
               CASE WHEN b.rounding = 'line' THEN round(whole_of(b.billed * b.percent * 0.01), b.digits) ELSE b.amount * b.percent * 0.01 END
          FROM (SELECT l.account_id, l.month, x.tax ->> 'name' AS name, (x.tax ->> 'percent')::numeric AS percent, t.rounding, t.digits,
                       sum(l.amount) AS amount, sum(l.billed) AS billed
                  FROM rating_lines AS l
                  JOIN rating_months AS m USING (account_id, month)
                  JOIN rating_terms AS t USING (tariff_id)
                 CROSS JOIN LATERAL (SELECT t.document -> 'taxes' -> v_n AS tax) AS x
                 WHERE (x.tax -> 'on') ? CASE WHEN l.component = 'tax' THEN l.label WHEN l.component = 'power_factor' THEN 'energy'
                                              WHEN l.component IN ('demand_flat', 'demand_tou') THEN 'demand' ELSE l.component END
                 GROUP BY l.account_id, l.month, x.tax, t.rounding, t.digits) AS b;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rate_taxes() IS 'Eighth step of rate(): taxes, in the order of the document';
