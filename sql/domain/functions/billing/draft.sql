CREATE OR REPLACE FUNCTION bill_actor() RETURNS text
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(nullif(current_setting('segs.actor', true), ''), 'role:' || session_user)
$$;
COMMENT ON FUNCTION bill_actor() IS 'Who acts, as the audit log names them';

-- p_energy has an object for every segment of billing_plan(): account, starts_at, ends_at, tariff_id, and of the energy in it
-- import_wh, export_wh, import_varh, peak_wh (of a quarter-hour), quality (the worst), version, estimated; of one that buys and
-- sells all, gross_load_wh and pv_gen_wh, and the peak of the former; of one for which there is no price yet, buy_per_kwh and sell_per_kwh that are expected. p_days has day,
-- import_wh, export_wh, estimated of each local day. What does not fit together is refused.
CREATE OR REPLACE FUNCTION bill_rate(p_meter_id integer, p_user_id integer, p_first date, p_end date, p_energy jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_missing record;
BEGIN
    PERFORM rating_open();
    DROP TABLE IF EXISTS pg_temp.bill_segments;
    CREATE TEMP TABLE bill_segments ON COMMIT DROP AS
    SELECT p.*, e.buy_per_kwh AS expected_buy, e.sell_per_kwh AS expected_sell, e.import_wh, e.export_wh, e.import_varh, e.gross_load_wh, e.pv_gen_wh,
           e.peak_wh, e.quality, e.version, e.estimated
      FROM billing_plan(p_meter_id, p_first, p_end) AS p
      FULL JOIN jsonb_to_recordset(p_energy) AS e (account integer, tariff_id integer, starts_at timestamptz, ends_at timestamptz, import_wh bigint,
               export_wh bigint, import_varh bigint, peak_wh bigint, quality smallint, version bigint, estimated boolean,
               buy_per_kwh numeric, sell_per_kwh numeric, gross_load_wh bigint, pv_gen_wh bigint)
        ON (e.account, e.tariff_id, e.starts_at, e.ends_at) = (p.account, p.tariff_id, p.starts_at, p.ends_at);
    SELECT s.starts_at, s.ends_at INTO v_missing FROM bill_segments AS s
     WHERE s.account IS NULL OR s.tariff_id IS NULL OR s.import_wh IS NULL OR s.export_wh IS NULL OR s.version IS NULL
        OR s.gross AND num_nulls(s.gross_load_wh, s.pv_gen_wh) > 0
        OR NOT s.priced AND s.expected_buy IS NULL AND (s.import_wh, s.export_wh) <> (0, 0) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'tariff, owner or place of meter % changed while it was billed', p_meter_id
            USING ERRCODE = 'SG103', HINT = 'Bill it again.';
    END IF;
    -- Price tables that follow one another share the month, whatever each says of a month that it has for itself.
    INSERT INTO rating_tariffs (tariff_id, document)
    SELECT DISTINCT ON (s.account) s.account, billing_document(s.tariff_id, s.whole) || CASE WHEN s.whole AND w.accounts > 1 THEN '{"proration": "days"}' ELSE '{}' END::jsonb
      FROM bill_segments AS s, (SELECT count(DISTINCT w.account) AS accounts FROM bill_segments AS w WHERE w.whole) AS w;
    INSERT INTO rating_accounts (account_id, tariff_id, first_day, end_day)
    SELECT DISTINCT ON (s.account) s.account, s.account, s.first_day, s.end_day FROM bill_segments AS s;
    INSERT INTO rating_intervals (account_id, starts_at, ends_at, import_wh, export_wh, import_varh, gross_load_wh, pv_gen_wh, buy_per_kwh, sell_per_kwh, price_tier, peak_wh, quality, version)
    SELECT s.account, s.starts_at, s.ends_at, s.import_wh, s.export_wh, coalesce(s.import_varh, 0), s.gross_load_wh, s.pv_gen_wh,
           CASE WHEN s.priced THEN s.buy_per_kwh ELSE s.expected_buy END, CASE WHEN s.priced THEN s.sell_per_kwh ELSE s.expected_sell END, s.price_tier,
           s.peak_wh, s.quality, s.version FROM bill_segments AS s;
    INSERT INTO rating_peaks (account_id, months_before, peak_kw)
    SELECT a.account_id, m.n, coalesce(i.peak_kw, g.peak_kw)
      FROM rating_accounts AS a
      JOIN rating_tariffs AS t USING (tariff_id)
     CROSS JOIN generate_series(1, 12) AS m (n)
     CROSS JOIN LATERAL (SELECT (date_trunc('month', p_first::timestamp) - make_interval(months => m.n))::date AS month) AS b
      LEFT JOIN LATERAL (
        SELECT max(i.peak_kw) AS peak_kw FROM invoices i
         WHERE i.meter_id = p_meter_id AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
           AND i.period_start >= b.month AND i.period_start < b.month + INTERVAL '1 month') AS i ON true
      LEFT JOIN LATERAL (
        -- The twelve months before the price table began, as its document has them.
        SELECT k.kw::numeric AS peak_kw
          FROM jsonb_array_elements_text(t.document -> 'prior_year_monthly_peaks_kw') WITH ORDINALITY AS k (kw, n)
          JOIN (SELECT DISTINCT s.account, s.tariff_id FROM bill_segments AS s) AS s ON s.account = a.account_id
          JOIN tariffs r ON r.tariff_id = s.tariff_id
         WHERE b.month = (date_trunc('month', CASE WHEN isfinite(lower(r.valid)) THEN lower(r.valid) AT TIME ZONE r.timezone ELSE p_first::timestamp END)
                          - make_interval(months => 13 - k.n::integer))::date) AS g ON true
     WHERE coalesce(i.peak_kw, g.peak_kw) IS NOT NULL;
    INSERT INTO rating_banks (account_id, period, kwh)
    SELECT a.account_id, b.period, b.kwh
      FROM rating_accounts AS a
      JOIN invoices i ON i.meter_id = p_meter_id AND i.user_id = p_user_id AND i.period_end = p_first AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
      JOIN invoice_banks b USING (invoice_id);
    IF (SELECT count(*) > 1 AND bool_or(t.document #>> '{metering,rule}' = 'net_metering') FROM rating_tariffs AS t) THEN
        RAISE EXCEPTION 'net metering of meter % has another price table in the middle of a month', p_meter_id
            USING ERRCODE = 'SG107', HINT = 'Add price tables from the first day of a month on.';
    END IF;
    PERFORM rate();
END
$$;
COMMENT ON FUNCTION bill_rate(integer, integer, date, date, jsonb) IS 'Rates a bill from the energy of its segments, into the tables of rating_open() and bill_segments; raises SG103 where the plan is another by now, SG107';

CREATE OR REPLACE FUNCTION bill_lines()
RETURNS TABLE (place bigint, component text, description text, tariff_id integer, period smallint, tier smallint, span tstzrange, quantity numeric, unit text,
               unit_price numeric, amount numeric, quality smallint, intervals_version bigint, estimated boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH line AS (
        SELECT l.account_id, l.component, l.label, l.period, l.tier, l.quantity, l.unit, l.unit_price, round(whole_of(l.billed), t.digits) AS amount,
               l.quality, l.version, l.first_at, l.last_at, t.regional
          FROM rating_lines AS l JOIN rating_accounts AS a USING (account_id) JOIN rating_terms AS t ON t.tariff_id = a.tariff_id
        UNION ALL
        -- Rounded one by one they may be a cent from the bill, which is rounded once.
        SELECT m.account_id, 'rounding', NULL, NULL, NULL, 1, 'bill', s.rest, s.rest, NULL, NULL, NULL, NULL, false
          FROM rating_months AS m JOIN rating_terms AS t USING (tariff_id)
         CROSS JOIN LATERAL (
            SELECT round(m.bill, t.digits) - coalesce(sum(round(whole_of(l.billed), t.digits)), 0) AS rest
              FROM rating_lines AS l WHERE l.account_id = m.account_id AND l.month = m.month) AS s
         WHERE s.rest <> 0
    ), of AS (
        SELECT DISTINCT s.account, s.tariff_id FROM bill_segments AS s
    )
    SELECT row_number() OVER (ORDER BY l.component = 'tax', l.account_id, array_position(
               ARRAY['energy', 'power_factor', 'demand_flat', 'demand_tou', 'fixed', 'baseline', 'export', 'minimum', 'rounding', 'tax'], l.component),
               l.period, l.tier, l.label, l.first_at, l.unit_price),
           l.component,
           coalesce(l.label, CASE l.component WHEN 'energy' THEN 'Energy' WHEN 'power_factor' THEN 'Power factor' WHEN 'demand_flat' THEN 'Demand'
               WHEN 'demand_tou' THEN 'Demand by period' WHEN 'fixed' THEN 'Fixed charge' WHEN 'baseline' THEN 'Baseline credit' WHEN 'export' THEN 'Export'
               WHEN 'minimum' THEN 'To the minimum' WHEN 'rounding' THEN 'Rounding' END),
           o.tariff_id, l.period, l.tier, tstzrange(l.first_at, l.last_at), round(l.quantity, 6), l.unit, round(l.unit_price, 8), l.amount, l.quality, l.version::bigint,
           l.component IN ('energy', 'export') AND coalesce((SELECT bool_or(s.estimated) FROM bill_segments AS s WHERE s.account = l.account_id AND s.period = l.period
                                                                              AND (NOT l.regional OR s.buy_per_kwh = l.unit_price OR l.component = 'export')), false)
      FROM line AS l JOIN of AS o ON o.account = l.account_id;
END
$$;
COMMENT ON FUNCTION bill_lines() IS 'The lines of the bill that bill_rate() rated, taxes last, rounded to the currency''s minor unit';

CREATE OR REPLACE FUNCTION bill_draft(p_meter_id integer, p_first date, p_end date, p_energy jsonb, p_days jsonb, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_part record;
    v_there invoices;
    v_sum record;
    v_usage record;
    v_invoice_id bigint;
BEGIN
    -- Assigning a tariff waits for this, and another bill of the meter.
    PERFORM FROM meters m WHERE m.meter_id = p_meter_id FOR NO KEY UPDATE;
    SELECT p.* INTO v_part FROM billing_parts(p_meter_id, p_first, p_end) AS p WHERE p.first_day = p_first AND p.end_day = p_end AND p.reason IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tariff, owner or place of meter % changed while it was billed', p_meter_id USING ERRCODE = 'SG103', HINT = 'Bill it again.';
    END IF;
    FOR v_there IN SELECT i.* FROM invoices i WHERE i.meter_id = p_meter_id AND i.kind = 'invoice' AND i.status <> 'cancelled'
                      AND daterange(i.period_start, i.period_end) && daterange(p_first, p_end) FOR UPDATE LOOP
        IF v_there.status <> 'draft' THEN
            RAISE EXCEPTION 'meter % is billed from % to % already, by %', p_meter_id, v_there.period_start, v_there.period_end, v_there.invoice_number
                USING ERRCODE = 'SG101', HINT = 'A credit note takes that bill back.';
        END IF;
        DELETE FROM invoices WHERE invoice_id = v_there.invoice_id;
    END LOOP;
    PERFORM bill_rate(p_meter_id, v_part.user_id, p_first, p_end, p_energy);
    SELECT sum(s.import_wh)::bigint AS import_wh, sum(s.export_wh)::bigint AS export_wh, sum(s.version)::bigint AS version INTO v_sum FROM bill_segments AS s;
    SELECT sum(d.import_wh)::bigint AS import_wh, sum(d.export_wh)::bigint AS export_wh, count(*) AS days INTO v_usage
      FROM jsonb_to_recordset(p_days) AS d (day date, import_wh bigint, export_wh bigint) WHERE d.day >= p_first AND d.day < p_end;
    IF (v_usage.import_wh, v_usage.export_wh, v_usage.days) IS DISTINCT FROM (v_sum.import_wh, v_sum.export_wh, (p_end - p_first)::bigint) THEN
        RAISE EXCEPTION 'the % days of meter % add up to % and % Wh, its segments to % and %', v_usage.days, p_meter_id, v_usage.import_wh, v_usage.export_wh,
            v_sum.import_wh, v_sum.export_wh USING ERRCODE = 'SG103', HINT = 'Bill it again.';
    END IF;
    INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount, tax_amount, energy_import_wh, energy_export_wh,
                          intervals_version, peak_kw, created_at, updated_at)
    SELECT p_meter_id, v_part.user_id, p_first, p_end, v_part.timezone, tstzrange(v_part.starts_at, v_part.ends_at), v_part.currency,
           coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0), coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0),
           v_sum.import_wh, v_sum.export_wh, v_sum.version,
           (SELECT max(m.peak_kw) FROM rating_months AS m), p_now, p_now
      FROM bill_lines() AS l
    RETURNING invoice_id INTO v_invoice_id;
    INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id, period, tier, span, quantity, unit, unit_price, amount, quality,
                                    intervals_version, estimated)
    SELECT v_invoice_id, l.place, l.component, l.description, l.tariff_id, l.period, l.tier, CASE WHEN NOT isempty(l.span) AND lower(l.span) IS NOT NULL THEN l.span END,
           l.quantity, l.unit, l.unit_price, l.amount, l.quality, l.intervals_version, l.estimated
      FROM bill_lines() AS l;
    INSERT INTO invoice_days (invoice_id, day, energy_import_wh, energy_export_wh, estimated)
    SELECT v_invoice_id, d.day, d.import_wh, d.export_wh, d.estimated
      FROM jsonb_to_recordset(p_days) AS d (day date, import_wh bigint, export_wh bigint, estimated boolean) WHERE d.day >= p_first AND d.day < p_end;
    INSERT INTO invoice_banks (invoice_id, period, kwh)
    -- A year's bank ends with its credit month, in which it is paid out.
    SELECT v_invoice_id, n.period, n.bank_kwh
      FROM rating_nets AS n JOIN rating_terms AS t ON t.tariff_id = n.account_id
     WHERE n.bank_kwh > 0 AND EXTRACT(month FROM n.month) <> t.credit_month;
    PERFORM bill_add_corrections(v_invoice_id);
    RETURN v_invoice_id;
END
$$;
COMMENT ON FUNCTION bill_draft(integer, date, date, jsonb, jsonb, timestamptz) IS 'A draft, in place of one that is there, of one part of billing_parts(); raises SG101 billed already, SG103 something changed meanwhile, SG107 what cannot be rated';
GRANT EXECUTE ON FUNCTION bill_draft(integer, date, date, jsonb, jsonb, timestamptz) TO segs_worker;
