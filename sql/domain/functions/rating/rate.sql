CREATE OR REPLACE FUNCTION rate() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM rate_terms();
    PERFORM rate_calendar();
    PERFORM rate_use();
    PERFORM rate_nets();
    PERFORM rate_energy(false);
    PERFORM rate_energy(true);
    PERFORM rate_demand();
    PERFORM rate_charges();
    PERFORM rate_taxes();
    UPDATE rating_months AS m
       SET import_kwh = coalesce(u.import_wh, 0) * 0.001, export_kwh = coalesce(u.export_wh, 0) * 0.001, bill_unrounded = whole_of(coalesce(l.amount, 0)),
           bill = CASE t.rounding WHEN 'invoice' THEN round(whole_of(coalesce(l.billed, 0)), t.digits) ELSE whole_of(coalesce(l.billed, 0)) END
      FROM rating_months AS n
      JOIN rating_terms AS t USING (tariff_id)
      LEFT JOIN (SELECT account_id, month, sum(amount) AS amount, sum(billed) AS billed FROM rating_lines GROUP BY account_id, month) AS l USING (account_id, month)
      LEFT JOIN (SELECT account_id, month, sum(import_wh) AS import_wh, sum(export_wh) AS export_wh FROM rating_use GROUP BY account_id, month) AS u USING (account_id, month)
     WHERE m.account_id = n.account_id AND m.month = n.month;
END
$$;
COMMENT ON FUNCTION rate() IS 'Rates what is in the tables of rating_open(): rating_months has a row per account and month, rating_lines the lines of its bill';
GRANT EXECUTE ON FUNCTION rate_terms(), rate_calendar(), rate_use(), rate_nets(), rate_energy(boolean), rate_demand(), rate_charges(), rate_taxes(), rate(),
    days_as(text, integer, integer) TO segs_worker;
