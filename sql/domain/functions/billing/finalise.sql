CREATE OR REPLACE FUNCTION bill_lock(p_invoice_id bigint) RETURNS invoices
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices;
BEGIN
    SELECT i.* INTO v_invoice FROM invoices i WHERE i.invoice_id = p_invoice_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no invoice %', p_invoice_id USING ERRCODE = 'SG100';
    END IF;
    RETURN v_invoice;
END
$$;
COMMENT ON FUNCTION bill_lock(bigint) IS 'The bill, for this transaction alone; raises SG100 no such invoice';

CREATE OR REPLACE FUNCTION credit_lock(p_user_id integer, p_currency text) RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_amount numeric;
BEGIN
    INSERT INTO credit_balances (user_id, currency) VALUES (p_user_id, p_currency) ON CONFLICT (user_id, currency) DO NOTHING;
    SELECT b.amount INTO v_amount FROM credit_balances b WHERE b.user_id = p_user_id AND b.currency = p_currency FOR NO KEY UPDATE;
    RETURN v_amount;
END
$$;
COMMENT ON FUNCTION credit_lock(integer, text) IS 'What a customer has to their credit, for this transaction alone';

-- Locks are taken in the order bill, credit, series, and a number as late as can be: all others wait for it.
CREATE OR REPLACE FUNCTION bill_number(p_kind text, OUT serial bigint, OUT number text)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE invoice_series AS s SET last_number = s.last_number + 1 WHERE s.kind = p_kind
    RETURNING s.last_number, s.prefix || lpad(s.last_number::text, greatest(10, length(s.last_number::text)), '0')
$$;
COMMENT ON FUNCTION bill_number(text) IS 'The next number of a series; a transaction that is rolled back gives it back';

CREATE OR REPLACE FUNCTION post(p_kind text, p_invoice invoices, p_credit_note_id bigint, p_payment_id bigint, p_now timestamptz,
                                p_receivable numeric, p_revenue numeric, p_cash numeric, p_balance numeric) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_posting_id bigint;
BEGIN
    INSERT INTO ledger_postings (kind, user_id, currency, invoice_id, credit_note_id, payment_id, posted_by, posted_at)
    VALUES (p_kind, p_invoice.user_id, p_invoice.currency, p_invoice.invoice_id, p_credit_note_id, p_payment_id, bill_actor(), p_now)
    RETURNING posting_id INTO v_posting_id;
    INSERT INTO ledger_entries (posting_id, account, amount)
    SELECT v_posting_id, e.account, e.amount
      FROM (VALUES ('receivable', p_receivable), ('revenue', p_revenue), ('cash', p_cash), ('balance', p_balance)) AS e (account, amount)
     WHERE e.amount <> 0;
    IF p_balance <> 0 THEN
        UPDATE credit_balances SET amount = amount - p_balance WHERE user_id = p_invoice.user_id AND currency = p_invoice.currency;
    END IF;
END
$$;
COMMENT ON FUNCTION post(text, invoices, bigint, bigint, timestamptz, numeric, numeric, numeric, numeric) IS 'One posting of a bill: debits above 0, credits below; the customer''s credit follows';

CREATE OR REPLACE FUNCTION bill_restate(p_invoice_id bigint, p_now timestamptz, p_cancel boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
    v_paid numeric;
    v_credited numeric;
    v_status text;
    v_open numeric;
BEGIN
    SELECT coalesce(sum(-e.amount) FILTER (WHERE p.kind NOT IN ('invoice', 'credit_note')), 0), coalesce(sum(-e.amount) FILTER (WHERE p.kind = 'credit_note'), 0)
      INTO v_paid, v_credited
      FROM ledger_postings p JOIN ledger_entries e USING (posting_id) WHERE p.invoice_id = p_invoice_id AND e.account = 'receivable';
    v_open := v_invoice.total_amount - v_paid - v_credited;
    v_status := CASE
        WHEN p_cancel THEN 'cancelled'
        WHEN EXISTS (SELECT FROM invoice_disputes d WHERE d.invoice_id = p_invoice_id AND d.outcome IS NULL) THEN 'disputed'
        WHEN v_open = 0 THEN 'paid'
        WHEN v_invoice.due_date < (p_now AT TIME ZONE v_invoice.timezone)::date THEN 'overdue'
        ELSE 'final' END;
    UPDATE invoices
       SET paid_amount = v_paid, credited_amount = v_credited, status = v_status,
           paid_at = CASE WHEN v_open = 0 AND v_status <> 'cancelled' THEN coalesce(paid_at, greatest(p_now, finalised_at)) END,
           overdue_at = CASE WHEN v_status = 'overdue' THEN coalesce(overdue_at, greatest(p_now, finalised_at)) END,
           cancelled_at = CASE WHEN v_status = 'cancelled' THEN coalesce(cancelled_at, greatest(p_now, finalised_at)) END
     WHERE invoice_id = p_invoice_id;
    RETURN v_status;
END
$$;
COMMENT ON FUNCTION bill_restate(bigint, timestamptz, boolean) IS 'What a bill says of its settlement, by ledger, disputes and calendar; its status';

CREATE OR REPLACE FUNCTION bill_finalise(p_invoice_id bigint, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
    v_settings billing_settings;
    v_recipient record;
    v_paid numeric;
    v_number record;
BEGIN
    IF v_invoice.status <> 'draft' OR v_invoice.kind <> 'invoice' THEN
        RAISE EXCEPTION 'invoice % is % already', v_invoice.invoice_number, v_invoice.status USING ERRCODE = 'SG101';
    END IF;
    IF caller_id() = v_invoice.user_id THEN
        RAISE EXCEPTION 'draft % is your own', p_invoice_id USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    IF upper(v_invoice.span) > p_now OR v_invoice.span IS NULL THEN
        RAISE EXCEPTION 'the period of draft % is not over', p_invoice_id USING ERRCODE = 'SG101';
    END IF;
    SELECT s.* INTO v_settings FROM billing_settings s;
    SELECT coalesce(a.name, u.name) AS name, a.address, coalesce(p.language, 'en') AS language INTO v_recipient
      FROM users u LEFT JOIN billing_addresses a USING (user_id) LEFT JOIN user_preferences p USING (user_id) WHERE u.user_id = v_invoice.user_id;
    IF v_recipient.name IS NULL THEN
        RAISE EXCEPTION 'nobody knows the name of user % any more', v_invoice.user_id
            USING ERRCODE = 'SG108', HINT = 'Set a name and an address for the bills of who left.';
    END IF;
    v_paid := least(v_invoice.total_amount, credit_lock(v_invoice.user_id, v_invoice.currency));
    SELECT n.* INTO v_number FROM bill_number('invoice') AS n;
    UPDATE invoices
       SET status = CASE WHEN v_paid = total_amount THEN 'paid' ELSE 'final' END, invoice_number = v_number.number, serial_number = v_number.serial,
           recipient_name = v_recipient.name, recipient_address = v_recipient.address, language = v_recipient.language, issuer = v_settings.issuer,
           made_by = bill_actor(), finalised_at = p_now, due_date = (p_now AT TIME ZONE timezone)::date + v_settings.payment_days,
           paid_amount = v_paid, paid_at = CASE WHEN v_paid = total_amount THEN p_now END
     WHERE invoice_id = p_invoice_id RETURNING * INTO v_invoice;
    PERFORM post('invoice', v_invoice, NULL, NULL, p_now, v_invoice.total_amount, -v_invoice.total_amount, 0, 0);
    DELETE FROM billing_addresses a USING users u WHERE a.user_id = v_invoice.user_id AND u.user_id = a.user_id AND u.deleted_at IS NOT NULL;
    -- Credit is used for it; a bill below 0 becomes credit.
    IF v_paid <> 0 THEN
        PERFORM post('balance', v_invoice, NULL, NULL, p_now, -v_paid, 0, 0, v_paid);
    END IF;
    UPDATE billing_work SET state = 'done' WHERE meter_id = v_invoice.meter_id AND month = date_trunc('month', v_invoice.period_start::timestamp)::date
       AND state = 'drafted' AND NOT EXISTS (SELECT FROM invoices i WHERE i.meter_id = v_invoice.meter_id AND i.status = 'draft' AND i.invoice_id <> p_invoice_id
           AND date_trunc('month', i.period_start::timestamp) = date_trunc('month', v_invoice.period_start::timestamp));
    RETURN v_number.number;
END
$$;
COMMENT ON FUNCTION bill_finalise(bigint, timestamptz) IS 'A draft becomes final: it gets its number, recipient and due date, and is posted; its number. Raises SG100, SG101 no draft or not over, SG102 one''s own, SG108 without a name';
GRANT EXECUTE ON FUNCTION bill_finalise(bigint, timestamptz) TO segs_worker;
