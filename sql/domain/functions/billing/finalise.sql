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
CREATE OR REPLACE FUNCTION bill_numbers(p_kind text, p_bills integer) RETURNS TABLE (serial bigint, number text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    FOR v_n IN 1 .. p_bills LOOP
        RETURN QUERY
        UPDATE invoice_series AS s SET last_number = s.last_number + 1 WHERE s.kind = p_kind
        RETURNING s.last_number, s.prefix || lpad(s.last_number::text, greatest(10, length(s.last_number::text)), '0');
    END LOOP;
END
$$;
COMMENT ON FUNCTION bill_numbers(text, integer) IS 'The next numbers of a series; a transaction that is rolled back gives them back';

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

CREATE OR REPLACE FUNCTION credits_lock(p_users integer[], p_currencies text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO credit_balances (user_id, currency) SELECT DISTINCT u.user_id, u.currency FROM unnest(p_users, p_currencies) AS u (user_id, currency) ORDER BY 1, 2
    ON CONFLICT (user_id, currency) DO NOTHING;
    PERFORM FROM credit_balances b WHERE (b.user_id, b.currency) IN (SELECT u.user_id, u.currency FROM unnest(p_users, p_currencies) AS u (user_id, currency))
      ORDER BY b.user_id, b.currency FOR NO KEY UPDATE;
END
$$;
COMMENT ON FUNCTION credits_lock(integer[], text[]) IS 'What customers have to their credit, for this transaction alone; whoever locks several locks them in one order';

CREATE OR REPLACE FUNCTION bills_finalise(p_invoices bigint[], p_now timestamptz) RETURNS TABLE (invoice_id bigint, invoice_number text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_wrong record;
    v_number record;
    v_serials bigint[];
    v_numbers text[];
BEGIN
    PERFORM FROM invoices i WHERE i.invoice_id = ANY (p_invoices) ORDER BY i.invoice_id FOR UPDATE;
    SELECT b.invoice_id, i.invoice_number, i.status, i.user_id, i.invoice_id IS NULL AS unknown, i.status <> 'draft' OR i.kind <> 'invoice' AS no_draft,
           caller_id() = i.user_id AS own, upper(i.span) > p_now OR i.span IS NULL AS early INTO v_wrong
      FROM unnest(p_invoices) WITH ORDINALITY AS b (invoice_id, n)
      LEFT JOIN invoices i ON i.invoice_id = b.invoice_id
      LEFT JOIN users u ON u.user_id = i.user_id
      LEFT JOIN billing_addresses a ON a.user_id = i.user_id
     WHERE i.invoice_id IS NULL OR i.status <> 'draft' OR i.kind <> 'invoice' OR caller_id() = i.user_id OR upper(i.span) > p_now OR i.span IS NULL
        OR coalesce(a.name, u.name) IS NULL
     ORDER BY b.n LIMIT 1;
    IF FOUND THEN
        IF v_wrong.unknown THEN
            RAISE EXCEPTION 'there is no invoice %', v_wrong.invoice_id USING ERRCODE = 'SG100';
        ELSIF v_wrong.no_draft THEN
            RAISE EXCEPTION 'invoice % is % already', v_wrong.invoice_number, v_wrong.status USING ERRCODE = 'SG101';
        ELSIF v_wrong.own THEN
            RAISE EXCEPTION 'draft % is your own', v_wrong.invoice_id USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
        ELSIF v_wrong.early THEN
            RAISE EXCEPTION 'the period of draft % is not over', v_wrong.invoice_id USING ERRCODE = 'SG101';
        END IF;
        RAISE EXCEPTION 'nobody knows the name of user % any more', v_wrong.user_id
            USING ERRCODE = 'SG108', HINT = 'Set a name and an address for the bills of who left.';
    END IF;
    PERFORM credits_lock(array_agg(i.user_id), array_agg(i.currency)) FROM invoices i WHERE i.invoice_id = ANY (p_invoices);
    FOR v_number IN SELECT n.* FROM bill_numbers('invoice', cardinality(p_invoices)) AS n LOOP
        v_serials := v_serials || v_number.serial;
        v_numbers := v_numbers || v_number.number;
    END LOOP;
    WITH asked AS (
        SELECT b.n, i.invoice_id, i.user_id, i.currency, i.total_amount, c.amount AS credit
          FROM unnest(p_invoices) WITH ORDINALITY AS b (invoice_id, n)
          JOIN invoices i USING (invoice_id)
          JOIN credit_balances c USING (user_id, currency)
    ), summed AS (
        SELECT a.*, a.credit - sum(a.total_amount) OVER (PARTITION BY a.user_id, a.currency ORDER BY a.n) AS rest FROM asked AS a
    ), left_over AS (
        -- Credit is used for one bill after another. What is left of it follows max(0, left - total), as a bank of energy does.
        SELECT s.*, s.rest - least(0, min(s.rest) OVER (PARTITION BY s.user_id, s.currency ORDER BY s.n)) AS left_after FROM summed AS s
    ), paid AS (
        SELECT l.*, lag(l.left_after, 1, l.credit) OVER (PARTITION BY l.user_id, l.currency ORDER BY l.n) - l.left_after AS amount FROM left_over AS l
    )
    UPDATE invoices AS i
       SET status = CASE WHEN p.amount = i.total_amount THEN 'paid' ELSE 'final' END, invoice_number = v_numbers[p.n], serial_number = v_serials[p.n],
           recipient_name = coalesce(a.name, u.name), recipient_address = a.address, language = coalesce(f.language, 'en'), issuer = s.issuer,
           made_by = bill_actor(), finalised_at = p_now, due_date = (p_now AT TIME ZONE i.timezone)::date + s.payment_days,
           paid_amount = p.amount, paid_at = CASE WHEN p.amount = i.total_amount THEN p_now END
      FROM paid AS p
      JOIN users u USING (user_id)
      LEFT JOIN billing_addresses a USING (user_id)
      LEFT JOIN user_preferences f USING (user_id)
     CROSS JOIN billing_settings s
     WHERE i.invoice_id = p.invoice_id;
    -- Credit is used for it; a bill below 0 becomes credit.
    WITH booked AS (
        SELECT i.invoice_id, i.user_id, i.currency, k.kind, k.n, k.receivable, k.revenue, k.balance
          FROM invoices i
         CROSS JOIN LATERAL (VALUES (1, 'invoice', i.total_amount, -i.total_amount, 0), (2, 'balance', -i.paid_amount, 0, i.paid_amount))
               AS k (n, kind, receivable, revenue, balance)
         WHERE i.invoice_id = ANY (p_invoices) AND (k.kind = 'invoice' OR i.paid_amount <> 0)
    ), posted AS (
        INSERT INTO ledger_postings (kind, user_id, currency, invoice_id, posted_by, posted_at)
        SELECT b.kind, b.user_id, b.currency, b.invoice_id, bill_actor(), p_now
          FROM booked AS b JOIN unnest(p_invoices) WITH ORDINALITY AS o (invoice_id, n) USING (invoice_id) ORDER BY o.n, b.n
        RETURNING posting_id, invoice_id, kind
    )
    INSERT INTO ledger_entries (posting_id, account, amount)
    SELECT p.posting_id, e.account, e.amount
      FROM posted AS p
      JOIN booked AS b USING (invoice_id, kind)
     CROSS JOIN LATERAL (VALUES ('receivable', b.receivable), ('revenue', b.revenue), ('balance', b.balance)) AS e (account, amount)
     WHERE e.amount <> 0;
    UPDATE credit_balances AS c SET amount = c.amount - u.amount
      FROM (SELECT i.user_id, i.currency, sum(i.paid_amount) AS amount FROM invoices i WHERE i.invoice_id = ANY (p_invoices) GROUP BY i.user_id, i.currency) AS u
     WHERE (c.user_id, c.currency) = (u.user_id, u.currency) AND u.amount <> 0;
    DELETE FROM billing_addresses a USING users u, invoices i
     WHERE i.invoice_id = ANY (p_invoices) AND a.user_id = i.user_id AND u.user_id = a.user_id AND u.deleted_at IS NOT NULL;
    UPDATE billing_work AS w SET state = 'done'
      FROM invoices i
     WHERE i.invoice_id = ANY (p_invoices) AND w.meter_id = i.meter_id AND w.month = date_trunc('month', i.period_start::timestamp)::date AND w.state = 'drafted'
       AND NOT EXISTS (SELECT FROM invoices d WHERE d.meter_id = i.meter_id AND d.status = 'draft'
                          AND date_trunc('month', d.period_start::timestamp) = date_trunc('month', i.period_start::timestamp));
    RETURN QUERY SELECT b.invoice_id, v_numbers[b.n] FROM unnest(p_invoices) WITH ORDINALITY AS b (invoice_id, n);
END
$$;
COMMENT ON FUNCTION bills_finalise(bigint[], timestamptz) IS 'Drafts become final, all or none: each gets its number, in this order, recipient and due date, and is posted. Raises SG100, SG101 no draft or not over, SG102 one''s own, SG108 without a name';

CREATE OR REPLACE FUNCTION bill_finalise(p_invoice_id bigint, p_now timestamptz) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT f.invoice_number FROM bills_finalise(ARRAY[p_invoice_id], p_now) AS f
$$;
COMMENT ON FUNCTION bill_finalise(bigint, timestamptz) IS 'A draft becomes final, as bills_finalise() has it; its number';
GRANT EXECUTE ON FUNCTION bill_lock(bigint), credits_lock(integer[], text[]), bills_finalise(bigint[], timestamptz), bill_finalise(bigint, timestamptz) TO segs_worker;
