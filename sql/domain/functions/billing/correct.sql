CREATE OR REPLACE FUNCTION bills_follow(p_meter_id integer, p_user_id integer, p_currency text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM (SELECT max(l.period_end) AS day FROM invoices l
                      WHERE (l.meter_id, l.user_id, l.currency) = (p_meter_id, p_user_id, p_currency) AND l.kind = 'invoice' AND l.status NOT IN ('draft', 'cancelled')) AS l
         CROSS JOIN LATERAL billing_days(ARRAY[p_meter_id], ARRAY[l.day], ARRAY[l.day + 1]) AS d
         WHERE d.user_id = p_user_id AND coalesce(d.currency, p_currency) = p_currency)
$$;
COMMENT ON FUNCTION bills_follow(integer, integer, text) IS 'Whether the day after the last one that is billed to a customer in a currency will be on another bill of theirs';

-- Of a bill that was taken back, whoever has corrections of it on another bill is to have that one anew, without them.
CREATE OR REPLACE FUNCTION bills_stranded(p_meters integer[])
RETURNS TABLE (correction_id bigint, meter_id integer, corrected_id bigint, invoice_id bigint, net_amount numeric, tax_amount numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH waiting AS MATERIALIZED (
        SELECT c.correction_id, i.meter_id, i.user_id, i.currency, i.status, c.invoice_id, c.net_amount, c.tax_amount
          FROM invoices i JOIN invoice_corrections c USING (invoice_id)
         WHERE i.meter_id = ANY (p_meters) AND c.on_invoice_id IS NULL AND c.credit_note_id IS NULL AND (c.net_amount <> 0 OR c.tax_amount <> 0)
    )
    SELECT w.correction_id, w.meter_id, w.invoice_id, b.invoice_id, w.net_amount, w.tax_amount
      FROM waiting AS w
     CROSS JOIN LATERAL (SELECT w.invoice_id WHERE w.status <> 'cancelled'
                         UNION
                         SELECT o.on_invoice_id FROM invoice_corrections o JOIN invoices n ON n.invoice_id = o.on_invoice_id AND n.status NOT IN ('draft', 'cancelled')
                          WHERE o.invoice_id = w.invoice_id AND o.credit_note_id IS NULL AND w.status = 'cancelled') AS b (invoice_id)
     WHERE NOT bills_follow(w.meter_id, w.user_id, w.currency);
END
$$;
COMMENT ON FUNCTION bills_stranded(integer[]) IS 'Corrections that wait for a bill of a customer and currency of which there will be none, and the bill that has to be made anew for each: the corrected one, or of one that was taken back whichever has corrections of it';

-- A bill that is final does not change, whatever its intervals become.
CREATE OR REPLACE FUNCTION bills_correct(p_invoices bigint[], p_energy jsonb, p_now timestamptz) RETURNS TABLE (invoice_id bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_wrong record;
    v_bills record;
BEGIN
    PERFORM FROM invoices i WHERE i.invoice_id = ANY (p_invoices) ORDER BY i.invoice_id FOR UPDATE;
    SELECT i.invoice_number, i.status INTO v_wrong FROM invoices i WHERE i.invoice_id = ANY (p_invoices) AND (i.kind <> 'invoice' OR i.status IN ('draft', 'cancelled', 'disputed')) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is %: there is nothing to correct', coalesce(v_wrong.invoice_number, 'the bill'), v_wrong.status USING ERRCODE = 'SG101';
    END IF;
    SELECT array_agg(i.meter_id ORDER BY b.n) AS meters, array_agg(i.user_id ORDER BY b.n) AS users, array_agg(i.period_start ORDER BY b.n) AS first,
           array_agg(i.period_end ORDER BY b.n) AS ends INTO v_bills
      FROM unnest(p_invoices) WITH ORDINALITY AS b (invoice_id, n) JOIN invoices i USING (invoice_id);
    PERFORM bills_open();
    PERFORM bills_rate(v_bills.meters, v_bills.users, v_bills.first, v_bills.ends, p_energy);
    PERFORM require_bills_before();
    RETURN QUERY
    WITH rated AS (
        SELECT b.invoice_id, b.n, coalesce(l.net, 0) AS net, coalesce(l.tax, 0) AS tax, s.version, m.peak_kw
          FROM unnest(p_invoices) WITH ORDINALITY AS b (invoice_id, n)
          JOIN (SELECT s.bill, sum(s.version)::bigint AS version FROM bill_segments AS s GROUP BY s.bill) AS s ON s.bill = b.n
          LEFT JOIN (SELECT l.bill, sum(l.amount) FILTER (WHERE l.component <> 'tax') AS net, sum(l.amount) FILTER (WHERE l.component = 'tax') AS tax
                       FROM bills_lines() AS l GROUP BY l.bill) AS l ON l.bill = b.n
          LEFT JOIN bills_peaks() AS m ON m.bill = b.n
    ), billed AS (
        SELECT l.invoice_id, coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0) AS net, coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0) AS tax
          -- What it says of its own period, without corrections of others, and with its own that were found before.
          FROM (SELECT l.invoice_id, l.component, l.amount FROM invoice_line_items l WHERE l.invoice_id = ANY (p_invoices)
                UNION ALL SELECT c.on_invoice_id, x.component, -x.amount
                            FROM invoice_corrections c CROSS JOIN LATERAL (VALUES ('energy', c.net_amount), ('tax', c.tax_amount)) AS x (component, amount)
                           WHERE c.on_invoice_id = ANY (p_invoices)
                UNION ALL SELECT c.invoice_id, x.component, x.amount
                            FROM invoice_corrections c CROSS JOIN LATERAL (VALUES ('energy', c.net_amount), ('tax', c.tax_amount)) AS x (component, amount)
                           WHERE c.invoice_id = ANY (p_invoices)) AS l
         GROUP BY l.invoice_id
    ), judged AS MATERIALIZED (
        SELECT r.invoice_id, r.n, r.version, r.peak_kw, r.net - coalesce(b.net, 0) AS net, r.tax - coalesce(b.tax, 0) AS tax,
               CASE WHEN w.invoice_id IS NULL AND k.banked IS NOT DISTINCT FROM v.banked AND (r.net, r.tax) = (coalesce(b.net, 0), coalesce(b.tax, 0)) THEN 'same'
                    -- Whether that was for what is found now, somebody has to say.
                    WHEN i.credited_amount <> 0 THEN 'credited'
                    -- No line of another bill can say what is banked.
                    WHEN k.banked IS DISTINCT FROM v.banked THEN 'replace'
                    -- What is kept of what a dispute gave follows what the bill is over.
                    WHEN g.kept < g.given OR g.kept > r.net + r.tax THEN 'replace'
                    WHEN w.invoice_id IS NULL AND s.late_data = 'adjust' AND bills_follow(i.meter_id, i.user_id, i.currency) THEN 'adjust'
                    -- Also where nobody gets another bill that could have it.
                    ELSE 'replace' END AS outcome
          FROM rated AS r JOIN invoices i USING (invoice_id) LEFT JOIN billed AS b USING (invoice_id) CROSS JOIN billing_settings s
          LEFT JOIN (SELECT c.on_invoice_id AS invoice_id, -sum(c.net_amount + c.tax_amount) AS kept, -sum(n.total_amount) AS given
                       FROM invoice_corrections c JOIN invoices n ON n.invoice_id = c.credit_note_id WHERE c.on_invoice_id = ANY (p_invoices)
                      GROUP BY c.on_invoice_id) AS g USING (invoice_id)
          LEFT JOIN (SELECT DISTINCT w.invoice_id FROM bills_stranded(v_bills.meters) AS w) AS w USING (invoice_id)
          LEFT JOIN (SELECT n.bill, jsonb_object_agg(coalesce(n.period::text, 'all'), n.kwh) AS banked FROM bills_banks() AS n GROUP BY n.bill) AS k ON k.bill = r.n
          LEFT JOIN (SELECT n.invoice_id, jsonb_object_agg(coalesce(n.period::text, 'all'), n.kwh) AS banked FROM invoice_banks AS n
                      WHERE n.invoice_id = ANY (p_invoices) GROUP BY n.invoice_id) AS v USING (invoice_id)
    ), kept AS (
        INSERT INTO invoice_corrections (invoice_id, intervals_version, net_amount, tax_amount, found_at, peak_kw)
        SELECT j.invoice_id, j.version, j.net, j.tax, p_now, j.peak_kw FROM judged AS j WHERE j.outcome NOT IN ('replace', 'credited') ORDER BY j.n
    )
    SELECT j.invoice_id, j.outcome FROM judged AS j ORDER BY j.n;
END
$$;
COMMENT ON FUNCTION bills_correct(bigint[], jsonb, timestamptz) IS 'What comes of intervals that changed after bills were final: the same amount, adjust (the next bill has the difference), replace, which bills_replace() does, also where another amount is banked or a correction would wait for ever, or credited: part of it was credited by hand, and somebody decides. Raises SG101 also of what is disputed, SG103, SG107';

-- The caller has locked what the customers have to their credit.
CREATE OR REPLACE FUNCTION bills_replace(p_invoices bigint[], p_energy jsonb, p_now timestamptz) RETURNS TABLE (replaces bigint, invoice_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_bills record;
    v_done record;
    v_invoice_id bigint;
BEGIN
    SELECT array_agg(i.meter_id ORDER BY b.n) AS meters, array_agg(i.period_start ORDER BY b.n) AS first, array_agg(i.period_end ORDER BY b.n) AS ends INTO v_bills
      FROM unnest(p_invoices) WITH ORDINALITY AS b (invoice_id, n) JOIN invoices i USING (invoice_id);
    SELECT array_agg(w.meter_id) AS meters, array_agg(w.month) AS months INTO v_done
      FROM billing_work w
     WHERE w.state = 'done' AND EXISTS (SELECT FROM invoices i WHERE i.invoice_id = ANY (p_invoices) AND i.meter_id = w.meter_id
                                           AND date_trunc('month', i.period_start::timestamp)::date = w.month);
    FOREACH v_invoice_id IN ARRAY p_invoices LOOP
        PERFORM bill_credit(v_invoice_id, NULL, 'Readings came after the bill was final', p_now);
    END LOOP;
    RETURN QUERY SELECT p_invoices[d.bill], d.invoice_id FROM bills_draft(v_bills.meters, v_bills.first, v_bills.ends, p_energy, p_now) AS d ORDER BY d.bill;
    -- Done when the drafts are final. Where another part of the month could not be billed, a run looks at it again.
    UPDATE billing_work AS w SET state = 'drafted' FROM unnest(v_done.meters, v_done.months) AS d (meter_id, month)
     WHERE (w.meter_id, w.month) = (d.meter_id, d.month);
END
$$;
COMMENT ON FUNCTION bills_replace(bigint[], jsonb, timestamptz) IS 'Credit notes over bills, and drafts in place of them; raises as bill_credit() and bills_draft() do';

CREATE OR REPLACE FUNCTION bills_add_corrections(p_invoices bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_added bigint[];
    v_kept record;
    v_left record;
BEGIN
    PERFORM FROM invoices i WHERE i.invoice_id = ANY (p_invoices) ORDER BY i.invoice_id FOR UPDATE;
    -- Where several bills could have it, the first one does; what a dispute gave, the largest one.
    WITH added AS (
        UPDATE invoice_corrections AS c SET on_invoice_id = f.invoice_id
          FROM (SELECT DISTINCT ON (c.correction_id) c.correction_id, n.invoice_id
                  FROM invoices AS n
                  -- Of one that was taken back, also the bill in place of it: who left may get no other.
                  JOIN invoices AS i ON (i.meter_id, i.user_id, i.currency) = (n.meter_id, n.user_id, n.currency)
                                    AND (i.period_end <= n.period_start OR i.status = 'cancelled' AND i.period_start < n.period_end)
                  JOIN invoice_corrections AS c ON c.invoice_id = i.invoice_id AND c.on_invoice_id IS NULL
                                               AND (c.net_amount <> 0 OR c.tax_amount <> 0 OR c.credit_note_id IS NOT NULL)
                                               -- What a dispute gave is for these days.
                                               AND (c.credit_note_id IS NULL OR i.status = 'cancelled' AND i.period_end > n.period_start AND i.period_start < n.period_end)
                 WHERE n.invoice_id = ANY (p_invoices)
                 ORDER BY c.correction_id, CASE WHEN c.credit_note_id IS NOT NULL THEN n.total_amount END DESC, n.invoice_id) AS f
         WHERE c.correction_id = f.correction_id
        RETURNING c.on_invoice_id
    )
    SELECT array_agg(DISTINCT a.on_invoice_id) INTO v_added FROM added AS a;
    -- Of what disputes gave no more is kept than the bill is over; what another one in place of it is over may be more again.
    FOR v_kept IN
        SELECT c.correction_id, c.on_invoice_id, n.net_amount, n.tax_amount
          FROM invoice_corrections c JOIN invoices n ON n.invoice_id = c.credit_note_id WHERE c.on_invoice_id = ANY (v_added) ORDER BY c.correction_id
    LOOP
        SELECT i.net_amount + coalesce(sum(o.net_amount), 0) AS net, i.tax_amount + coalesce(sum(o.tax_amount), 0) AS tax INTO v_left
          FROM invoices i
          LEFT JOIN invoice_corrections o ON o.on_invoice_id = i.invoice_id AND o.credit_note_id IS NOT NULL AND o.correction_id < v_kept.correction_id
         WHERE i.invoice_id = v_kept.on_invoice_id GROUP BY i.invoice_id;
        IF v_left.net + v_left.tax <= 0 THEN
            SELECT 0::numeric AS net, 0::numeric AS tax INTO v_left;
        END IF;
        UPDATE invoice_corrections AS c
           SET net_amount = CASE WHEN k.whole THEN v_kept.net_amount ELSE -v_left.net END, tax_amount = CASE WHEN k.whole THEN v_kept.tax_amount ELSE -v_left.tax END
          FROM (SELECT -(v_kept.net_amount + v_kept.tax_amount) <= v_left.net + v_left.tax AS whole) AS k
         WHERE c.correction_id = v_kept.correction_id;
    END LOOP;
    INSERT INTO invoice_line_items (invoice_id, position, component, description, span, quantity, unit, unit_price, amount, intervals_version)
    SELECT c.on_invoice_id, (SELECT coalesce(max(l.position), 0) FROM invoice_line_items l WHERE l.invoice_id = c.on_invoice_id)
               + row_number() OVER (PARTITION BY c.on_invoice_id ORDER BY c.correction_id, x.component), x.component, x.description, i.span, 1, 'bill', x.amount, x.amount,
           c.intervals_version
      FROM invoice_corrections AS c
      JOIN invoices AS i USING (invoice_id)
      LEFT JOIN invoices AS k ON k.invoice_id = c.credit_note_id
     CROSS JOIN LATERAL (VALUES ('adjustment', CASE WHEN k.invoice_id IS NULL THEN 'Correction of ' || i.invoice_number ELSE 'Kept of ' || k.invoice_number END, c.net_amount),
                                ('tax', CASE WHEN k.invoice_id IS NULL THEN 'Tax in the correction of ' || i.invoice_number ELSE 'Tax in what is kept of ' || k.invoice_number END,
                                 c.tax_amount)) AS x (component, description, amount)
     WHERE c.on_invoice_id = ANY (v_added) AND x.amount <> 0;
    UPDATE invoices AS i SET net_amount = s.net, tax_amount = s.tax
      FROM (SELECT l.invoice_id, coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0) AS net,
                   coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0) AS tax
              FROM invoice_line_items l WHERE l.invoice_id = ANY (v_added) GROUP BY l.invoice_id) AS s
     WHERE i.invoice_id = s.invoice_id;
END
$$;
COMMENT ON FUNCTION bills_add_corrections(bigint[]) IS 'Lines of drafts for what earlier bills of the same meter and customer, or those that they stand in for, turned out to be more or less by';

CREATE OR REPLACE FUNCTION bill_take_back_corrections(p_invoice_id bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- Those of the bill itself: what another bill has of them is taken back by the one in place of it, or a later one; what waited is
    -- over.
    DELETE FROM invoice_corrections WHERE invoice_id = p_invoice_id AND on_invoice_id IS NULL AND credit_note_id IS NULL;
    INSERT INTO invoice_corrections (invoice_id, net_amount, tax_amount, found_at)
    SELECT p_invoice_id, -sum(c.net_amount), -sum(c.tax_amount), p_now FROM invoice_corrections c
     WHERE c.invoice_id = p_invoice_id AND c.credit_note_id IS NULL
    HAVING sum(c.net_amount) <> 0 OR sum(c.tax_amount) <> 0;
    -- Those that it has of others wait for another bill.
    UPDATE invoice_corrections SET on_invoice_id = NULL WHERE on_invoice_id = p_invoice_id;
    -- What came to nothing, and is on no bill, waits for none.
    DELETE FROM invoice_corrections AS c USING (
        SELECT c.invoice_id FROM invoice_corrections c JOIN invoices i USING (invoice_id)
         WHERE c.credit_note_id IS NULL AND (i.status = 'cancelled' OR i.invoice_id = p_invoice_id) AND i.meter_id = (SELECT t.meter_id FROM invoices t WHERE t.invoice_id = p_invoice_id)
         GROUP BY c.invoice_id HAVING count(c.on_invoice_id) = 0 AND sum(c.net_amount) = 0 AND sum(c.tax_amount) = 0) AS o
     WHERE c.invoice_id = o.invoice_id AND c.credit_note_id IS NULL;
END
$$;
COMMENT ON FUNCTION bill_take_back_corrections(bigint, timestamptz) IS 'A bill is taken back whole: so are corrections of it, and those on it wait again, or are over';
GRANT EXECUTE ON FUNCTION bills_stranded(integer[]), bills_correct(bigint[], jsonb, timestamptz), bills_replace(bigint[], jsonb, timestamptz) TO segs_worker;
