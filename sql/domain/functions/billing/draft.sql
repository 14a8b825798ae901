CREATE OR REPLACE FUNCTION bill_actor() RETURNS text
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(nullif(current_setting('segs.actor', true), ''), 'role:' || session_user)
$$;
COMMENT ON FUNCTION bill_actor() IS 'Who acts, as the audit log names them';

CREATE OR REPLACE FUNCTION bills_open() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM rating_open();
    IF rating_kept(ARRAY['bill_parts', 'bill_segments', 'bill_accounts', 'bill_drafts']) THEN
        DELETE FROM bill_parts;
        DELETE FROM bill_segments;
        DELETE FROM bill_accounts;
        DELETE FROM bill_drafts;
        RETURN;
    END IF;
    CREATE TEMP TABLE bill_parts (
        bill integer, meter_id integer, user_id integer, first_day date, end_day date, starts_at timestamptz, ends_at timestamptz, timezone text,
        currency text);
    -- The plan with what was taken in each segment. Accounts are numbered through.
    CREATE TEMP TABLE bill_segments (
        bill integer, account bigint, tariff_id integer, whole boolean, first_day date, end_day date, starts_at timestamptz, ends_at timestamptz,
        period smallint, priced boolean, buy_per_kwh numeric, sell_per_kwh numeric, price_tier smallint, gross boolean,
        expected_buy numeric, expected_sell numeric, import_wh bigint, export_wh bigint, import_varh bigint, gross_load_wh bigint, pv_gen_wh bigint,
        peak_wh bigint, quality smallint, version bigint, estimated boolean);
    -- Accounts of one price table are rated by one document.
    CREATE TEMP TABLE bill_accounts (
        bill integer, account bigint, meter_id integer, user_id integer, first_of_bill date, tariff_id integer, whole boolean, shared boolean,
        document integer, first_day date, end_day date);
    CREATE TEMP TABLE bill_drafts (bill integer, invoice_id bigint);
END
$$;
COMMENT ON FUNCTION bills_open() IS 'Makes the tables that bills are rated in, or empties them';

-- p_energy is an array with an object for every bill, in its columns the segments of billing_plan() by their begin, as arrays in
-- PostgreSQL's notation: account, starts_at, ends_at, tariff_id, generators (the meter that told what is generated, if any), and of the
-- energy in them import_wh, export_wh, import_varh, peak_wh (of a quarter-hour), quality (the worst), version, estimated; of one that buys and sells all, gross_load_wh and
-- pv_gen_wh, and the peak of the former; of one for which there is no price yet, buy_per_kwh and sell_per_kwh that are expected.
-- What does not fit together is refused.
CREATE OR REPLACE FUNCTION bills_rate(p_meters integer[], p_users integer[], p_first date[], p_end date[], p_energy jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_wrong record;
BEGIN
    INSERT INTO bill_segments
    SELECT coalesce(p.bill, e.bill), coalesce(p.bill, e.bill) * 1000000::bigint + p.account, p.tariff_id, p.whole, p.first_day, p.end_day, p.starts_at, p.ends_at,
           p.period, p.priced, p.buy_per_kwh, p.sell_per_kwh, p.price_tier, p.gross, e.buy_per_kwh, e.sell_per_kwh, e.import_wh, e.export_wh, e.import_varh,
           e.gross_load_wh, e.pv_gen_wh, e.peak_wh, e.quality, e.version, e.estimated
      FROM billing_plan(p_meters, p_first, p_end) AS p
      FULL JOIN (
        SELECT x.n::integer AS bill, e.*
          FROM jsonb_array_elements(p_energy) WITH ORDINALITY AS x (bill, n)
         CROSS JOIN LATERAL unnest((x.bill ->> 'account')::integer[], (x.bill ->> 'tariff_id')::integer[], (x.bill ->> 'starts_at')::timestamptz[],
               (x.bill ->> 'ends_at')::timestamptz[], (x.bill ->> 'import_wh')::bigint[], (x.bill ->> 'export_wh')::bigint[], (x.bill ->> 'import_varh')::bigint[],
               (x.bill ->> 'peak_wh')::bigint[], (x.bill ->> 'quality')::smallint[], (x.bill ->> 'version')::bigint[], (x.bill ->> 'estimated')::boolean[],
               (x.bill ->> 'buy_per_kwh')::numeric[], (x.bill ->> 'sell_per_kwh')::numeric[], (x.bill ->> 'gross_load_wh')::bigint[],
               (x.bill ->> 'pv_gen_wh')::bigint[], (x.bill ->> 'generators')::integer[])
            AS e (account, tariff_id, starts_at, ends_at, import_wh, export_wh, import_varh, peak_wh, quality, version, estimated, buy_per_kwh, sell_per_kwh,
                  gross_load_wh, pv_gen_wh, generator_id)) AS e
        ON (e.bill, e.account, e.tariff_id, e.starts_at, e.ends_at, coalesce(e.generator_id, 0))
           = (p.bill, p.account, p.tariff_id, p.starts_at, p.ends_at, coalesce(p.generator_id, 0));
    SELECT p_meters[s.bill] AS meter_id INTO v_wrong FROM bill_segments AS s
     WHERE s.account IS NULL OR s.tariff_id IS NULL OR s.import_wh IS NULL OR s.export_wh IS NULL OR s.version IS NULL
        OR s.gross AND num_nulls(s.gross_load_wh, s.pv_gen_wh) > 0
        OR NOT s.priced AND s.expected_buy IS NULL AND (s.import_wh, s.export_wh) <> (0, 0) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'tariff, owner, place or generator of meter % changed while it was billed', v_wrong.meter_id
            USING ERRCODE = 'SG103', HINT = 'Bill it again.';
    END IF;
    INSERT INTO bill_accounts
    SELECT a.bill, a.account, p_meters[a.bill], p_users[a.bill], p_first[a.bill], a.tariff_id, a.whole, a.shared,
           dense_rank() OVER (ORDER BY a.tariff_id, a.whole, a.shared), a.first_day, a.end_day
      FROM (SELECT s.bill, s.account, s.tariff_id, s.whole, s.whole AND count(*) FILTER (WHERE s.whole) OVER (PARTITION BY s.bill) > 1 AS shared, s.first_day, s.end_day
              FROM bill_segments AS s GROUP BY s.bill, s.account, s.tariff_id, s.whole, s.first_day, s.end_day) AS a;
    -- Price tables that follow one another share the month, whatever each says of a month that it has for itself.
    INSERT INTO rating_tariffs (tariff_id, document)
    SELECT d.document, billing_document(d.tariff_id, d.whole) || CASE WHEN d.shared THEN '{"proration": "days"}' ELSE '{}' END::jsonb
      FROM (SELECT DISTINCT a.document, a.tariff_id, a.whole, a.shared FROM bill_accounts AS a) AS d;
    SELECT a.meter_id INTO v_wrong FROM bill_accounts AS a JOIN rating_tariffs AS t ON t.tariff_id = a.document
     GROUP BY a.bill, a.meter_id HAVING count(*) > 1 AND bool_or(t.document #>> '{metering,rule}' = 'net_metering') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'net metering of meter % has another price table in the middle of a month', v_wrong.meter_id
            USING ERRCODE = 'SG107', HINT = 'Add price tables from the first day of a month on.';
    END IF;
    INSERT INTO rating_accounts (account_id, tariff_id, first_day, end_day) SELECT a.account, a.document, a.first_day, a.end_day FROM bill_accounts AS a;
    INSERT INTO rating_intervals (account_id, starts_at, ends_at, import_wh, export_wh, import_varh, gross_load_wh, pv_gen_wh, buy_per_kwh, sell_per_kwh, price_tier, peak_wh, quality, version)
    SELECT s.account, s.starts_at, s.ends_at, s.import_wh, s.export_wh, coalesce(s.import_varh, 0), s.gross_load_wh, s.pv_gen_wh,
           CASE WHEN s.priced THEN s.buy_per_kwh ELSE s.expected_buy END, CASE WHEN s.priced THEN s.sell_per_kwh ELSE s.expected_sell END, s.price_tier,
           s.peak_wh, s.quality, s.version FROM bill_segments AS s;
    INSERT INTO rating_peaks (account_id, months_before, peak_kw)
    SELECT a.account, m.n, coalesce(i.peak_kw, g.peak_kw)
      FROM bill_accounts AS a
      JOIN rating_tariffs AS t ON t.tariff_id = a.document AND (t.document ->> 'lookbackpercent')::numeric > 0
     CROSS JOIN generate_series(1, 12) AS m (n)
     CROSS JOIN LATERAL (SELECT (date_trunc('month', a.first_of_bill::timestamp) - make_interval(months => m.n))::date AS month) AS b
      LEFT JOIN LATERAL (
        -- As the last correction found it.
        SELECT max(coalesce(c.peak_kw, i.peak_kw)) AS peak_kw
          FROM invoices i
          LEFT JOIN LATERAL (SELECT c.peak_kw FROM invoice_corrections c WHERE c.invoice_id = i.invoice_id ORDER BY c.correction_id DESC LIMIT 1) AS c ON true
         WHERE i.meter_id = a.meter_id AND i.user_id = a.user_id AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
           AND i.period_start >= b.month AND i.period_start < b.month + INTERVAL '1 month') AS i ON true
      LEFT JOIN LATERAL (
        -- The twelve months before the price table began, as its document has them.
        SELECT k.kw::numeric AS peak_kw
          FROM jsonb_array_elements_text(t.document -> 'prior_year_monthly_peaks_kw') WITH ORDINALITY AS k (kw, n)
          JOIN tariffs r ON r.tariff_id = a.tariff_id
         WHERE b.month = (date_trunc('month', CASE WHEN isfinite(lower(r.valid)) THEN lower(r.valid) AT TIME ZONE r.timezone ELSE a.first_of_bill::timestamp END)
                          - make_interval(months => 13 - k.n::integer))::date) AS g ON true
     WHERE coalesce(i.peak_kw, g.peak_kw) IS NOT NULL;
    INSERT INTO rating_banks (account_id, period, kwh)
    SELECT a.account, b.period, b.kwh
      FROM bill_accounts AS a
      JOIN rating_tariffs AS t ON t.tariff_id = a.document AND t.document #>> '{metering,rule}' = 'net_metering'
      JOIN invoices i ON i.meter_id = a.meter_id AND i.user_id = a.user_id AND i.period_end = a.first_of_bill AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
      JOIN invoice_banks b USING (invoice_id);
    PERFORM rate();
    IF rating_many() THEN
        ANALYZE bill_segments, bill_accounts, rating_months, rating_lines;
    END IF;
END
$$;
COMMENT ON FUNCTION bills_rate(integer[], integer[], date[], date[], jsonb) IS 'Rates bills from the energy of their segments, in the tables that bills_open() has emptied; raises SG103 where the plan is another by now, SG107';

CREATE OR REPLACE FUNCTION bills_lines()
RETURNS TABLE (bill integer, place bigint, component text, description text, tariff_id integer, period smallint, tier smallint, span tstzrange, quantity numeric, unit text,
               unit_price numeric, amount numeric, quality smallint, intervals_version bigint, estimated boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH rounded AS MATERIALIZED (
        SELECT l.account_id, l.month, l.component, l.label, l.period, l.tier, l.quantity, l.unit, l.unit_price, round(whole_of(l.billed), t.digits) AS amount,
               l.quality, l.version, l.first_at, l.last_at, t.regional
          FROM rating_lines AS l JOIN rating_accounts AS a USING (account_id) JOIN rating_terms AS t ON t.tariff_id = a.tariff_id
    ), line AS (
        SELECT r.account_id, r.component, r.label, r.period, r.tier, r.quantity, r.unit, r.unit_price, r.amount, r.quality, r.version, r.first_at, r.last_at, r.regional
          FROM rounded AS r
        UNION ALL
        -- Rounded one by one they may be a cent from the bill, which is rounded once.
        SELECT m.account_id, 'rounding', NULL, NULL, NULL, 1, 'bill', s.rest, s.rest, NULL, NULL, NULL, NULL, false
          FROM rating_months AS m
          JOIN rating_terms AS t USING (tariff_id)
          LEFT JOIN (SELECT r.account_id, r.month, sum(r.amount) AS amount FROM rounded AS r GROUP BY r.account_id, r.month) AS r USING (account_id, month)
         CROSS JOIN LATERAL (SELECT round(m.bill, t.digits) - coalesce(r.amount, 0) AS rest) AS s
         WHERE s.rest <> 0
    ), marked AS MATERIALIZED (
        SELECT DISTINCT s.account, s.period, s.buy_per_kwh FROM bill_segments AS s WHERE s.estimated
    )
    SELECT a.bill,
           row_number() OVER (PARTITION BY a.bill ORDER BY l.component = 'tax', l.account_id, array_position(
               ARRAY['energy', 'power_factor', 'demand_flat', 'demand_tou', 'fixed', 'baseline', 'export', 'minimum', 'rounding', 'tax'], l.component),
               l.period, l.tier, l.label, l.first_at, l.unit_price),
           l.component,
           coalesce(l.label, CASE l.component WHEN 'energy' THEN 'Energy' WHEN 'power_factor' THEN 'Power factor' WHEN 'demand_flat' THEN 'Demand'
               WHEN 'demand_tou' THEN 'Demand by period' WHEN 'fixed' THEN 'Fixed charge' WHEN 'baseline' THEN 'Baseline credit' WHEN 'export' THEN 'Export'
               WHEN 'minimum' THEN 'To the minimum' WHEN 'rounding' THEN 'Rounding' END),
           a.tariff_id, l.period, l.tier, tstzrange(l.first_at, l.last_at), round(l.quantity, 6), l.unit, round(l.unit_price, 8), l.amount, l.quality, l.version::bigint,
           l.component IN ('energy', 'export') AND EXISTS (SELECT FROM marked AS k WHERE k.account = l.account_id AND k.period = l.period
                                                              AND (NOT l.regional OR k.buy_per_kwh = l.unit_price OR l.component = 'export'))
      FROM line AS l JOIN bill_accounts AS a ON a.account = l.account_id;
END
$$;
COMMENT ON FUNCTION bills_lines() IS 'The lines of the bills that bills_rate() rated, taxes last, rounded to the currency''s minor unit';

CREATE OR REPLACE FUNCTION bills_banks() RETURNS TABLE (bill integer, period smallint, kwh numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- A year's bank ends with its credit month, in which it is paid out.
    RETURN QUERY
    SELECT a.bill, n.period, n.bank_kwh::numeric(18, 6)
      FROM rating_nets AS n JOIN bill_accounts AS a ON a.account = n.account_id JOIN rating_terms AS t ON t.tariff_id = a.document
     WHERE n.bank_kwh > 0 AND EXTRACT(month FROM n.month) <> t.credit_month;
END
$$;
COMMENT ON FUNCTION bills_banks() IS 'What the bills that bills_rate() rated have banked by net metering, of each period, and (period NULL) of all';

CREATE OR REPLACE FUNCTION bills_peaks() RETURNS TABLE (bill integer, peak_kw numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT a.bill, max(m.peak_kw) FROM rating_months AS m JOIN bill_accounts AS a ON a.account = m.account_id GROUP BY a.bill;
END
$$;
COMMENT ON FUNCTION bills_peaks() IS 'The highest demand of the bills that bills_rate() rated, kW';

CREATE OR REPLACE FUNCTION require_bills_before() RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_draft record;
BEGIN
    -- Past a bill that is not final, a ratchet would take too little, and net metering too much.
    SELECT a.meter_id, a.first_of_bill, i.period_start, i.period_end INTO v_draft
      FROM bill_accounts AS a
      JOIN rating_tariffs AS t ON t.tariff_id = a.document AND ((t.document ->> 'lookbackpercent')::numeric > 0 OR t.document #>> '{metering,rule}' = 'net_metering')
     CROSS JOIN LATERAL (SELECT date_trunc('month', a.first_of_bill::timestamp) AS month) AS b
      JOIN invoices i ON i.meter_id = a.meter_id AND i.user_id = a.user_id AND i.kind = 'invoice' AND i.status = 'draft'
                     AND ((t.document ->> 'lookbackpercent')::numeric > 0
                          AND i.period_start < b.month AND i.period_start >= b.month - make_interval(months => coalesce((t.document ->> 'lookbackrange')::integer, 12))
                          OR t.document #>> '{metering,rule}' = 'net_metering' AND i.period_end = a.first_of_bill)
     ORDER BY i.period_start LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the bill of meter % from % on goes on from that from % to %, which is a draft', v_draft.meter_id, v_draft.first_of_bill,
            v_draft.period_start, v_draft.period_end USING ERRCODE = 'SG107', HINT = 'Make that final.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_bills_before() IS 'Raises SG107 where one of the bills that bills_rate() rated has a ratchet that looks back at a draft, or goes on with what a draft has banked';

-- p_energy is as bills_rate() has it, and has of each bill's local days, in order, day_import_wh, day_export_wh and day_estimated.
CREATE OR REPLACE FUNCTION bills_draft(p_meters integer[], p_first date[], p_end date[], p_energy jsonb, p_now timestamptz) RETURNS TABLE (bill integer, invoice_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_there record;
    v_wrong record;
    v_users integer[];
    v_invoices bigint[];
BEGIN
    -- Assigning a tariff waits for this, and another bill of the meter.
    PERFORM FROM meters m WHERE m.meter_id = ANY (p_meters) ORDER BY m.meter_id FOR NO KEY UPDATE;
    PERFORM bills_open();
    INSERT INTO bill_parts
    SELECT p.bill, p.meter_id, p.user_id, p.first_day, p.end_day, p.starts_at, p.ends_at, p.timezone, p.currency
      FROM billing_parts(p_meters, p_first, p_end) AS p WHERE p.reason IS NULL AND (p.first_day, p.end_day) = (p_first[p.bill], p_end[p.bill]);
    SELECT array_agg(p.user_id ORDER BY b.n) INTO v_users FROM generate_subscripts(p_meters, 1) AS b (n) LEFT JOIN bill_parts AS p ON p.bill = b.n;
    IF array_position(v_users, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'tariff, owner or place of meter % changed while it was billed', p_meters[array_position(v_users, NULL)]
            USING ERRCODE = 'SG103', HINT = 'Bill it again.';
    END IF;
    FOR v_there IN SELECT i.invoice_id, i.status, i.meter_id, i.period_start, i.period_end, i.invoice_number
                     FROM unnest(p_meters, p_first, p_end) AS b (meter_id, first_day, end_day)
                     JOIN invoices i ON i.meter_id = b.meter_id AND i.kind = 'invoice' AND i.status <> 'cancelled'
                                    AND daterange(i.period_start, i.period_end) && daterange(b.first_day, b.end_day)
                    ORDER BY i.invoice_id FOR UPDATE OF i LOOP
        IF v_there.status <> 'draft' THEN
            RAISE EXCEPTION 'meter % is billed from % to % already, by %', v_there.meter_id, v_there.period_start, v_there.period_end, v_there.invoice_number
                USING ERRCODE = 'SG101', HINT = 'A credit note takes that bill back.';
        END IF;
        DELETE FROM invoices WHERE invoice_id = v_there.invoice_id;
    END LOOP;
    PERFORM bills_rate(p_meters, v_users, p_first, p_end, p_energy);
    PERFORM require_bills_before();
    -- A bill that went on without what the one before will have banked would take that from the customer for good.
    WITH banked AS MATERIALIZED (
        SELECT a.meter_id, a.user_id, a.first_of_bill
          FROM bill_accounts AS a JOIN rating_tariffs AS t ON t.tariff_id = a.document AND t.document #>> '{metering,rule}' = 'net_metering'
    ), follows AS MATERIALIZED (
        SELECT b.* FROM banked AS b
         WHERE EXISTS (SELECT FROM billing_work w WHERE w.meter_id = b.meter_id AND w.month = date_trunc('month', b.first_of_bill::timestamp - INTERVAL '1 day')::date
                          AND w.state <> 'done')
           AND NOT EXISTS (SELECT FROM invoices i WHERE (i.meter_id, i.user_id, i.period_end) = (b.meter_id, b.user_id, b.first_of_bill) AND i.kind = 'invoice'
                              AND i.status NOT IN ('draft', 'cancelled'))
    )
    SELECT f.meter_id, f.first_of_bill INTO v_wrong
      FROM follows AS f
     WHERE EXISTS (SELECT FROM billing_days(ARRAY[f.meter_id], ARRAY[f.first_of_bill - 1], ARRAY[f.first_of_bill]) AS d WHERE d.user_id = f.user_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'net metering of meter % goes on with what is banked until %, and that is not billed yet', v_wrong.meter_id, v_wrong.first_of_bill
            USING ERRCODE = 'SG107', HINT = 'Bill what is before, and make it final.';
    END IF;
    SELECT p_meters[s.bill] AS meter_id, d.days, d.import_wh AS day_import_wh, d.export_wh AS day_export_wh, s.import_wh, s.export_wh INTO v_wrong
      FROM (SELECT s.bill, sum(s.import_wh) AS import_wh, sum(s.export_wh) AS export_wh FROM bill_segments AS s GROUP BY s.bill) AS s
      LEFT JOIN (SELECT d.bill, sum(d.import_wh) AS import_wh, sum(d.export_wh) AS export_wh, count(*) AS days FROM bills_days(p_first, p_energy) AS d GROUP BY d.bill) AS d USING (bill)
     WHERE (d.import_wh, d.export_wh, d.days) IS DISTINCT FROM (s.import_wh, s.export_wh, (p_end[s.bill] - p_first[s.bill])::bigint) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the % days of meter % add up to % and % Wh, its segments to % and %', v_wrong.days, v_wrong.meter_id, v_wrong.day_import_wh,
            v_wrong.day_export_wh, v_wrong.import_wh, v_wrong.export_wh USING ERRCODE = 'SG103', HINT = 'Bill it again.';
    END IF;
    WITH made AS (
        INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount, tax_amount, energy_import_wh, energy_export_wh,
                              intervals_version, peak_kw, created_at, updated_at)
        SELECT p.meter_id, p.user_id, p.first_day, p.end_day, p.timezone, tstzrange(p.starts_at, p.ends_at), p.currency, coalesce(l.net, 0), coalesce(l.tax, 0),
               s.import_wh, s.export_wh, s.version, m.peak_kw, p_now, p_now
          FROM bill_parts AS p
          JOIN (SELECT s.bill, sum(s.import_wh)::bigint AS import_wh, sum(s.export_wh)::bigint AS export_wh, sum(s.version)::bigint AS version
                  FROM bill_segments AS s GROUP BY s.bill) AS s USING (bill)
          LEFT JOIN (SELECT l.bill, sum(l.amount) FILTER (WHERE l.component <> 'tax') AS net, sum(l.amount) FILTER (WHERE l.component = 'tax') AS tax
                       FROM bills_lines() AS l GROUP BY l.bill) AS l USING (bill)
          LEFT JOIN bills_peaks() AS m USING (bill)
         ORDER BY p.bill
        RETURNING invoice_id, meter_id, period_start
    )
    INSERT INTO bill_drafts (bill, invoice_id)
    SELECT b.n, m.invoice_id FROM unnest(p_meters, p_first) WITH ORDINALITY AS b (meter_id, first_day, n)
      JOIN made AS m ON (m.meter_id, m.period_start) = (b.meter_id, b.first_day);
    INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id, period, tier, span, quantity, unit, unit_price, amount, quality,
                                    intervals_version, estimated)
    SELECT d.invoice_id, l.place, l.component, l.description, l.tariff_id, l.period, l.tier, CASE WHEN NOT isempty(l.span) AND lower(l.span) IS NOT NULL THEN l.span END,
           l.quantity, l.unit, l.unit_price, l.amount, l.quality, l.intervals_version, l.estimated
      FROM bills_lines() AS l JOIN bill_drafts AS d USING (bill) ORDER BY d.invoice_id, l.place;
    INSERT INTO invoice_days (invoice_id, day, energy_import_wh, energy_export_wh, estimated)
    SELECT d.invoice_id, u.day, u.import_wh, u.export_wh, u.estimated FROM bills_days(p_first, p_energy) AS u JOIN bill_drafts AS d USING (bill) ORDER BY d.invoice_id, u.day;
    INSERT INTO invoice_banks (invoice_id, period, kwh)
    SELECT d.invoice_id, n.period, n.kwh FROM bills_banks() AS n JOIN bill_drafts AS d USING (bill);
    SELECT array_agg(d.invoice_id) INTO v_invoices FROM bill_drafts AS d;
    PERFORM bills_add_corrections(v_invoices);
    RETURN QUERY SELECT d.bill, d.invoice_id FROM bill_drafts AS d ORDER BY d.bill;
END
$$;
COMMENT ON FUNCTION bills_draft(integer[], date[], date[], jsonb, timestamptz) IS 'Drafts, in place of those that are there, each of one part of billing_parts(), all or none; raises SG101 billed already, SG103 something changed meanwhile, SG107 what cannot be rated';

CREATE OR REPLACE FUNCTION bills_days(p_first date[], p_energy jsonb) RETURNS TABLE (bill integer, day date, import_wh bigint, export_wh bigint, estimated boolean)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT x.n::integer, p_first[x.n] + d.n::integer - 1, d.import_wh, d.export_wh, d.estimated
      FROM jsonb_array_elements(p_energy) WITH ORDINALITY AS x (bill, n)
     CROSS JOIN LATERAL unnest((x.bill ->> 'day_import_wh')::bigint[], (x.bill ->> 'day_export_wh')::bigint[], (x.bill ->> 'day_estimated')::boolean[])
           WITH ORDINALITY AS d (import_wh, export_wh, estimated, n)
$$;
COMMENT ON FUNCTION bills_days(date[], jsonb) IS 'What was taken on each day of bills, by what bills_draft() is given';
GRANT EXECUTE ON FUNCTION bills_open(), bills_draft(integer[], date[], date[], jsonb, timestamptz) TO segs_worker;
