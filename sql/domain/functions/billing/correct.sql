-- A bill that is final does not change, whatever its intervals become.
CREATE OR REPLACE FUNCTION bill_correct(p_invoice_id bigint, p_energy jsonb, p_days jsonb, p_now timestamptz, OUT outcome text, OUT invoice_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
    v_version bigint;
    v_new record;
    v_billed record;
BEGIN
    IF v_invoice.kind <> 'invoice' OR v_invoice.status IN ('draft', 'cancelled') THEN
        RAISE EXCEPTION '% is %: there is nothing to correct', coalesce(v_invoice.invoice_number, 'the bill'), v_invoice.status USING ERRCODE = 'SG101';
    END IF;
    PERFORM bill_rate(v_invoice.meter_id, v_invoice.user_id, v_invoice.period_start, v_invoice.period_end, p_energy);
    SELECT sum(s.version)::bigint INTO v_version FROM bill_segments AS s;
    SELECT coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0) AS net, coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0) AS tax INTO v_new
      FROM bill_lines() AS l;
    SELECT coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0) AS net, coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0) AS tax INTO v_billed
      -- What it says of its own period, without corrections of others, and with its own that were found before.
      FROM (SELECT l.component, l.amount FROM invoice_line_items l WHERE l.invoice_id = p_invoice_id
            UNION ALL SELECT 'energy', -c.net_amount FROM invoice_corrections c WHERE c.on_invoice_id = p_invoice_id
            UNION ALL SELECT 'tax', -c.tax_amount FROM invoice_corrections c WHERE c.on_invoice_id = p_invoice_id
            UNION ALL SELECT 'energy', c.net_amount FROM invoice_corrections c WHERE c.invoice_id = p_invoice_id
            UNION ALL SELECT 'tax', c.tax_amount FROM invoice_corrections c WHERE c.invoice_id = p_invoice_id) AS l;
    IF (v_new.net, v_new.tax) = (v_billed.net, v_billed.tax) THEN
        outcome := 'same';
    ELSIF (SELECT s.late_data FROM billing_settings s) = 'adjust'
          AND EXISTS (SELECT FROM meter_owners o WHERE o.meter_id = v_invoice.meter_id AND o.user_id = v_invoice.user_id AND o.valid @> upper(v_invoice.span)) THEN
        outcome := 'adjust';
    ELSE
        -- Also where nobody gets another bill that could have it.
        outcome := 'replace';
        PERFORM bill_credit(p_invoice_id, NULL, 'Readings came after the bill was final', p_now);
        invoice_id := bill_draft(v_invoice.meter_id, v_invoice.period_start, v_invoice.period_end, p_energy, p_days, p_now);
        UPDATE billing_work SET state = 'done' WHERE meter_id = v_invoice.meter_id AND month = date_trunc('month', v_invoice.period_start::timestamp)::date;
        RETURN;
    END IF;
    INSERT INTO invoice_corrections (invoice_id, intervals_version, net_amount, tax_amount, found_at)
    VALUES (p_invoice_id, v_version, v_new.net - v_billed.net, v_new.tax - v_billed.tax, p_now);
END
$$;
COMMENT ON FUNCTION bill_correct(bigint, jsonb, jsonb, timestamptz) IS 'What comes of intervals that changed after a bill was final: the same amount, adjust (the next bill has the difference) or replace (a credit note, and this draft instead). Raises as bill_draft does';

CREATE OR REPLACE FUNCTION bill_add_corrections(p_invoice_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
BEGIN
    UPDATE invoice_corrections AS c SET on_invoice_id = p_invoice_id FROM invoices AS i
     WHERE i.invoice_id = c.invoice_id AND c.on_invoice_id IS NULL AND (c.net_amount <> 0 OR c.tax_amount <> 0)
       AND (i.meter_id, i.user_id, i.currency) = (v_invoice.meter_id, v_invoice.user_id, v_invoice.currency) AND i.period_end <= v_invoice.period_start;
    INSERT INTO invoice_line_items (invoice_id, position, component, description, span, quantity, unit, unit_price, amount, intervals_version)
    SELECT p_invoice_id, (SELECT coalesce(max(l.position), 0) FROM invoice_line_items l WHERE l.invoice_id = p_invoice_id)
               + row_number() OVER (ORDER BY c.correction_id, x.component), x.component, x.description, i.span, 1, 'bill', x.amount, x.amount, c.intervals_version
      FROM invoice_corrections AS c
      JOIN invoices AS i USING (invoice_id)
     CROSS JOIN LATERAL (VALUES ('adjustment', 'Correction of ' || i.invoice_number, c.net_amount),
                                ('tax', 'Tax in the correction of ' || i.invoice_number, c.tax_amount)) AS x (component, description, amount)
     WHERE c.on_invoice_id = p_invoice_id AND x.amount <> 0;
    UPDATE invoices AS i SET net_amount = s.net, tax_amount = s.tax
      FROM (SELECT coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0) AS net, coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0) AS tax
              FROM invoice_line_items l WHERE l.invoice_id = p_invoice_id) AS s
     WHERE i.invoice_id = p_invoice_id;
END
$$;
COMMENT ON FUNCTION bill_add_corrections(bigint) IS 'Lines of a draft for what earlier bills of the same meter and customer turned out to be more or less by';

CREATE OR REPLACE FUNCTION bill_take_back_corrections(p_invoice_id bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- Those of the bill itself: what another bill has of them is taken back by a later one, what waited is over.
    DELETE FROM invoice_corrections WHERE invoice_id = p_invoice_id AND on_invoice_id IS NULL;
    INSERT INTO invoice_corrections (invoice_id, net_amount, tax_amount, found_at)
    SELECT p_invoice_id, -sum(c.net_amount), -sum(c.tax_amount), p_now FROM invoice_corrections c WHERE c.invoice_id = p_invoice_id
    HAVING sum(c.net_amount) <> 0 OR sum(c.tax_amount) <> 0;
    -- Those that it has of others wait for another bill.
    UPDATE invoice_corrections SET on_invoice_id = NULL WHERE on_invoice_id = p_invoice_id;
END
$$;
COMMENT ON FUNCTION bill_take_back_corrections(bigint, timestamptz) IS 'A bill is taken back whole: so are corrections of it, and those on it wait again';
GRANT EXECUTE ON FUNCTION bill_correct(bigint, jsonb, jsonb, timestamptz) TO segs_worker;
