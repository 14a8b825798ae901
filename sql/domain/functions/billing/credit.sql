-- A credit note takes back all that is left of a bill, line by line, or an amount of it. What was paid of that is the
-- customer's credit from then on.
CREATE OR REPLACE FUNCTION bill_credit(p_invoice_id bigint, p_amount numeric, p_reason text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices;
    v_left numeric;
    v_amount numeric;
    v_beyond numeric;
    v_settings billing_settings;
    v_number record;
    v_note invoices;
    v_tax numeric;
    v_excess numeric;
BEGIN
    -- What is owed beyond it will be owed with another one: whoever locks several locks them in one order.
    PERFORM FROM invoices i JOIN invoices o USING (user_id, currency)
      WHERE o.invoice_id = p_invoice_id AND o.open_amount > greatest(o.total_amount - o.credited_amount, 0) AND i.kind = 'invoice' AND i.status <> 'draft'
      ORDER BY i.invoice_id FOR UPDATE OF i;
    v_invoice := bill_lock(p_invoice_id);
    v_left := v_invoice.total_amount - v_invoice.credited_amount;
    v_amount := coalesce(p_amount, v_left);
    IF v_invoice.kind = 'credit_note' THEN
        RAISE EXCEPTION '% is a credit note: there is nothing to take back', v_invoice.invoice_number USING ERRCODE = 'SG101', HINT = 'Nothing was changed.';
    END IF;
    IF v_invoice.status IN ('draft', 'cancelled') THEN
        RAISE EXCEPTION '% is %: there is nothing to take back', coalesce(v_invoice.invoice_number, 'draft ' || p_invoice_id), v_invoice.status
            USING ERRCODE = 'SG101', HINT = CASE v_invoice.status WHEN 'draft' THEN 'A draft is made again by the next run.' ELSE 'Nothing was changed.' END;
    END IF;
    IF caller_id() = v_invoice.user_id THEN
        RAISE EXCEPTION 'invoice % is your own', v_invoice.invoice_number USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    IF p_amount <> round(p_amount, minor_digits(v_invoice.currency)) THEN
        RAISE EXCEPTION '% has more decimals than % has', trim_scale(p_amount), v_invoice.currency
            USING ERRCODE = 'SG104', HINT = format('Give an amount with at most %s decimals.', minor_digits(v_invoice.currency));
    END IF;
    IF p_amount IS NOT NULL AND (p_amount <= 0 OR p_amount > v_left) IS NOT FALSE OR p_amount = 'NaN' THEN
        RAISE EXCEPTION 'of invoice % there is % % left to take back, and not %', v_invoice.invoice_number, money_text(v_left, v_invoice.currency),
            v_invoice.currency, money_text(p_amount, v_invoice.currency)
            USING ERRCODE = 'SG104', HINT = format('Give an amount above 0 and up to that, with at most %s decimals.', minor_digits(v_invoice.currency));
    END IF;
    v_beyond := v_invoice.open_amount - greatest(v_left, 0) - credit_lock(v_invoice.user_id, v_invoice.currency);
    IF v_amount = v_left AND v_beyond > 0 THEN
        PERFORM debt_move(v_invoice, v_beyond, p_now);
    END IF;
    SELECT s.* INTO v_settings FROM billing_settings s;
    INSERT INTO invoices (kind, credits_invoice_id, meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount, tax_amount, reason,
                          created_at, updated_at)
    VALUES ('credit_note', p_invoice_id, v_invoice.meter_id, v_invoice.user_id, v_invoice.period_start, v_invoice.period_end, v_invoice.timezone, v_invoice.span,
            v_invoice.currency, 0, 0, p_reason, p_now, p_now)
    RETURNING * INTO v_note;
    IF v_invoice.credited_amount = 0 AND v_amount = v_left THEN
        v_tax := v_invoice.tax_amount;
        INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id, period, tier, span, quantity, unit, unit_price, amount, quality,
                                        intervals_version, estimated)
        SELECT v_note.invoice_id, l.position, l.component, l.description, l.tariff_id, l.period, l.tier, l.span, -l.quantity, l.unit, l.unit_price, -l.amount,
               l.quality, l.intervals_version, l.estimated
          FROM invoice_line_items l WHERE l.invoice_id = p_invoice_id;
    ELSE
        v_tax := CASE WHEN v_amount = v_left
            THEN v_invoice.tax_amount + coalesce((SELECT sum(c.tax_amount) FROM invoices c WHERE c.credits_invoice_id = p_invoice_id AND c.status <> 'draft'), 0)
            ELSE round(whole_of(v_amount * ratio(v_invoice.tax_amount, v_invoice.total_amount)), minor_digits(v_invoice.currency)) END;
        INSERT INTO invoice_line_items (invoice_id, position, component, description, span, quantity, unit, unit_price, amount)
        SELECT v_note.invoice_id, l.position, l.component, l.description, v_invoice.span, -1, 'bill', l.amount, -l.amount
          FROM (VALUES (1, 'adjustment', 'Credit', v_amount - v_tax), (2, 'tax', 'Tax in it', v_tax)) AS l (position, component, description, amount)
         WHERE l.amount <> 0 OR l.position = 1;
    END IF;
    SELECT n.* INTO v_number FROM bill_numbers('credit_note', 1) AS n;
    UPDATE invoices
       SET net_amount = -(v_amount - v_tax), tax_amount = -v_tax, credited_amount = -v_amount, status = 'final', invoice_number = v_number.number,
           serial_number = v_number.serial, recipient_name = v_invoice.recipient_name, recipient_address = v_invoice.recipient_address,
           language = v_invoice.language, issuer = v_settings.issuer, made_by = bill_actor(), finalised_at = p_now,
           due_date = greatest((p_now AT TIME ZONE timezone)::date, period_end)
     WHERE invoice_id = v_note.invoice_id;
    PERFORM post('credit_note', v_invoice, v_note.invoice_id, NULL, p_now, -v_amount, v_amount, 0, 0);
    -- What was paid, or used of credit, and is not owed any more; of a bill below 0 the credit that it was.
    v_excess := CASE WHEN v_amount = v_left THEN v_invoice.paid_amount ELSE greatest(v_amount - v_invoice.open_amount, 0) END;
    IF v_excess <> 0 THEN
        IF v_excess < -credit_lock(v_invoice.user_id, v_invoice.currency) THEN
            RAISE EXCEPTION 'the credit that invoice % gave was used already', v_invoice.invoice_number
                USING ERRCODE = 'SG104', HINT = 'Take back the bills that it was used for, first.';
        END IF;
        PERFORM post('release', v_invoice, NULL, NULL, p_now, v_excess, 0, 0, -v_excess);
    END IF;
    IF v_amount = v_left THEN
        -- What a dispute gave the customer was decided: whatever is billed to them in place of this bill keeps it.
        INSERT INTO invoice_corrections (invoice_id, net_amount, tax_amount, found_at, credit_note_id)
        SELECT p_invoice_id, n.net_amount, n.tax_amount, p_now, n.invoice_id
          FROM invoice_disputes d JOIN invoices n ON n.invoice_id = d.credit_note_id WHERE d.invoice_id = p_invoice_id ORDER BY n.invoice_id;
        UPDATE invoice_disputes SET outcome = 'upheld', resolution = p_reason, resolved_by = bill_actor(), resolved_at = greatest(p_now, opened_at),
               credit_note_id = v_note.invoice_id
         WHERE invoice_id = p_invoice_id AND outcome IS NULL;
        PERFORM bill_take_back_corrections(p_invoice_id, p_now);
        UPDATE billing_work SET state = 'pending', tried_at = NULL
         WHERE meter_id = v_invoice.meter_id AND month = date_trunc('month', v_invoice.period_start::timestamp)::date;
    END IF;
    PERFORM bill_restate(p_invoice_id, p_now, v_amount = v_left);
    RETURN v_note.invoice_id;
END
$$;
COMMENT ON FUNCTION bill_credit(bigint, numeric, text, timestamptz) IS 'A credit note over an amount with its tax, or (NULL) all that is left: then the bill is cancelled, an open dispute upheld, and its month billed again by the next run. Raises SG100, SG101 draft or cancelled, SG102 own bill, SG104 more than is left, and as debt_move() does';
GRANT EXECUTE ON FUNCTION bill_credit(bigint, numeric, text, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION bill_dispute(p_invoice_id bigint, p_reason text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
    v_dispute_id bigint;
BEGIN
    IF v_invoice.kind <> 'invoice' OR v_invoice.status NOT IN ('final', 'overdue', 'paid') THEN
        RAISE EXCEPTION '% is %: it cannot be disputed', coalesce(v_invoice.invoice_number, 'the bill'), v_invoice.status
            USING ERRCODE = 'SG101', HINT = CASE v_invoice.status WHEN 'disputed' THEN 'Its dispute is open.' WHEN 'cancelled' THEN 'A credit note took it back.' ELSE 'Nothing was changed.' END;
    END IF;
    INSERT INTO invoice_disputes (invoice_id, reason, opened_by, opened_at) VALUES (p_invoice_id, p_reason, bill_actor(), p_now)
    RETURNING dispute_id INTO v_dispute_id;
    PERFORM bill_restate(p_invoice_id, p_now);
    RETURN v_dispute_id;
END
$$;
COMMENT ON FUNCTION bill_dispute(bigint, text, timestamptz) IS 'Opens a dispute, during which nothing is overdue; raises SG100, SG101 draft, cancelled, or disputed already';

CREATE OR REPLACE FUNCTION bill_dispute_resolve(p_invoice_id bigint, p_outcome text, p_amount numeric, p_resolution text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
    v_note_id bigint;
BEGIN
    IF caller_id() = v_invoice.user_id THEN
        RAISE EXCEPTION 'invoice % is your own', v_invoice.invoice_number USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    IF v_invoice.status <> 'disputed' THEN
        RAISE EXCEPTION 'invoice % is not disputed', coalesce(v_invoice.invoice_number, p_invoice_id::text) USING ERRCODE = 'SG106';
    END IF;
    IF p_outcome = 'upheld' THEN
        v_note_id := bill_credit(p_invoice_id, p_amount, p_resolution, p_now);
    ELSIF p_amount IS NOT NULL THEN
        RAISE EXCEPTION 'a dispute that is rejected takes nothing back' USING ERRCODE = 'SG104';
    END IF;
    UPDATE invoice_disputes SET outcome = p_outcome, resolution = p_resolution, resolved_by = bill_actor(), resolved_at = greatest(p_now, opened_at),
           credit_note_id = v_note_id
     WHERE invoice_id = p_invoice_id AND outcome IS NULL;
    PERFORM bill_restate(p_invoice_id, p_now) WHERE (SELECT i.status FROM invoices i WHERE i.invoice_id = p_invoice_id) <> 'cancelled';
    RETURN v_note_id;
END
$$;
COMMENT ON FUNCTION bill_dispute_resolve(bigint, text, numeric, text, timestamptz) IS 'Ends a dispute: upheld by a credit note over an amount, NULL for all, or rejected; the credit note. Raises SG100, SG102 own bill, SG106 not disputed, and as bill_credit does';
GRANT EXECUTE ON FUNCTION bill_dispute(bigint, text, timestamptz), bill_dispute_resolve(bigint, text, numeric, text, timestamptz) TO segs_worker;

CREATE OR REPLACE FUNCTION bills_overdue(p_limit integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_bills integer;
BEGIN
    -- What somebody is settling at this moment is left to the next time.
    WITH due AS (
        SELECT i.invoice_id FROM invoices i
         WHERE i.status = 'final' AND i.kind = 'invoice' AND i.due_date < (p_now AT TIME ZONE i.timezone)::date
         ORDER BY i.due_date LIMIT p_limit FOR UPDATE SKIP LOCKED
    )
    UPDATE invoices AS i SET status = 'overdue', overdue_at = greatest(p_now, i.finalised_at) FROM due AS d WHERE i.invoice_id = d.invoice_id;
    GET DIAGNOSTICS v_bills = ROW_COUNT;
    RETURN v_bills;
END
$$;
COMMENT ON FUNCTION bills_overdue(integer, timestamptz) IS 'Bills of which the last day to pay is over, in their own zone, are overdue; how many became so, at most p_limit';
GRANT EXECUTE ON FUNCTION bills_overdue(integer, timestamptz) TO segs_worker;
