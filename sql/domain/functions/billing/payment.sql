CREATE OR REPLACE FUNCTION payment_post(p_payment_id bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_payment payment_transactions;
    v_invoice invoices;
    v_applied numeric;
BEGIN
    SELECT p.* INTO STRICT v_payment FROM payment_transactions p WHERE p.payment_id = p_payment_id;
    v_invoice := bill_lock(v_payment.invoice_id);
    PERFORM credit_lock(v_invoice.user_id, v_invoice.currency);
    -- More than is open is the customer's credit.
    v_applied := least(v_payment.amount, v_invoice.open_amount);
    PERFORM post('payment', v_invoice, NULL, p_payment_id, p_now, -v_applied, 0, v_payment.amount, v_applied - v_payment.amount);
    IF v_invoice.status <> 'cancelled' THEN
        PERFORM bill_restate(v_invoice.invoice_id, p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION payment_post(bigint, timestamptz) IS 'Posts a payment that succeeded: to its bill as far as that is open, the rest to the customer''s credit';

-- What a payment had become may have gone back to the customer before it was taken back: they owe it beyond what they used.
CREATE OR REPLACE FUNCTION debt_move(p_from invoices, p_amount numeric, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_other invoices;
BEGIN
    SELECT i.* INTO v_other FROM invoices i
     WHERE (i.user_id, i.currency) = (p_from.user_id, p_from.currency) AND i.invoice_id <> p_from.invoice_id AND i.kind = 'invoice'
       AND i.status NOT IN ('draft', 'cancelled')
     ORDER BY i.invoice_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% % went back to the customer of invoice % before its payment was taken back, and there is no other bill that it could be owed with',
            p_amount, p_from.currency, p_from.invoice_number USING ERRCODE = 'SG101', HINT = 'Bill the customer, and do it again; a provider has to tell it again.';
    END IF;
    PERFORM post('release', v_other, NULL, NULL, p_now, p_amount, 0, 0, -p_amount);
    PERFORM bill_restate(v_other.invoice_id, p_now);
END
$$;
COMMENT ON FUNCTION debt_move(invoices, numeric, timestamptz) IS 'What is owed beyond a bill that is taken back is owed with the newest other one of its customer and currency, and is their credit until that is used for the former. The caller has locked the customer''s bills. Raises SG101 where there is none';

-- Credit that it had become and that other bills used is theirs no more, the last one first. What went back to the customer
-- meanwhile they owe once more, with the bill.
CREATE OR REPLACE FUNCTION payment_reverse(p_payment_id bigint, p_at timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_payment payment_transactions;
    v_invoice invoices;
    v_other invoices;
    v_reopened numeric;
    v_short numeric;
    v_used record;
BEGIN
    SELECT p.* INTO STRICT v_payment FROM payment_transactions p WHERE p.payment_id = p_payment_id;
    v_invoice := bill_lock(v_payment.invoice_id);
    v_short := v_payment.amount - credit_lock(v_invoice.user_id, v_invoice.currency);
    -- Of what it paid, credit notes may have made credit since; and what the customer's credit covers stays paid.
    SELECT least(coalesce(sum(-e.amount), 0), greatest(v_invoice.paid_amount, 0), greatest(v_short, 0)) INTO v_reopened
      FROM ledger_postings p JOIN ledger_entries e USING (posting_id)
     WHERE p.payment_id = p_payment_id AND p.kind = 'payment' AND e.account = 'receivable';
    v_short := v_short - v_reopened;
    FOR v_used IN
        SELECT i.invoice_id, least(sum(e.amount), i.paid_amount) AS amount
          FROM invoices i JOIN ledger_postings p USING (invoice_id) JOIN ledger_entries e USING (posting_id)
         WHERE (i.user_id, i.currency) = (v_invoice.user_id, v_invoice.currency) AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
           AND e.account = 'balance'
           -- What covered a payment that was taken back was used for it as well.
           AND (p.kind IN ('balance', 'release') OR EXISTS (SELECT FROM ledger_postings b WHERE b.payment_id = p.payment_id AND b.kind = 'reversal'))
         GROUP BY i.invoice_id, i.paid_amount HAVING sum(e.amount) > 0 AND i.paid_amount > 0
         ORDER BY max(p.posting_id) FILTER (WHERE p.kind IN ('balance', 'reversal')) DESC NULLS LAST
    LOOP
        EXIT WHEN v_short <= 0;
        v_other := bill_lock(v_used.invoice_id);
        PERFORM post('release', v_other, NULL, NULL, p_now, least(v_short, v_used.amount), 0, 0, -least(v_short, v_used.amount));
        PERFORM bill_restate(v_used.invoice_id, p_now);
        v_short := v_short - v_used.amount;
    END LOOP;
    IF v_short > 0 AND v_invoice.status <> 'cancelled' THEN
        v_reopened := v_reopened + v_short;
    ELSIF v_short > 0 THEN
        PERFORM debt_move(v_invoice, v_short, p_now);
    END IF;
    PERFORM post('reversal', v_invoice, NULL, p_payment_id, p_now, v_reopened, 0, -v_payment.amount, v_payment.amount - v_reopened);
    UPDATE payment_transactions AS t SET status = 'failed', settled_at = greatest(p_at, t.settled_at) WHERE t.payment_id = p_payment_id;
    IF v_invoice.status <> 'cancelled' THEN
        PERFORM bill_restate(v_invoice.invoice_id, p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION payment_reverse(bigint, timestamptz, timestamptz) IS 'Takes a payment back that had succeeded (charge-back, returned debit): what it paid is open again, and so is what its credit paid. The caller has locked the customer''s bills. Raises SG101 where no bill can have what is owed';

-- A provider, or an operator, tells of a payment, any number of times and in any order. Whoever comes first makes the transaction.
-- What happened last holds, and of what happened at once that the money came; what was taken back once stays so.
CREATE OR REPLACE FUNCTION payment_record(
    p_invoice_id bigint, p_provider text, p_reference text, p_amount numeric, p_currency text, p_status text, p_method text, p_recorded_by integer,
    p_occurred_at timestamptz, p_now timestamptz, OUT payment_id bigint, OUT created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_at CONSTANT timestamptz := least(p_occurred_at, p_now);
    v_invoice invoices;
    v_there payment_transactions;
BEGIN
    IF p_status IN ('failed', 'reversed')
       OR p_status = 'succeeded' AND EXISTS (SELECT FROM payment_transactions t WHERE (t.provider, t.provider_reference, t.status) = (p_provider, p_reference, 'failed')) THEN
        -- It may be taken back, from several bills: whoever locks several locks them in one order.
        PERFORM FROM invoices i JOIN invoices o USING (user_id, currency)
          WHERE o.invoice_id = p_invoice_id AND i.kind = 'invoice' AND i.status <> 'draft' ORDER BY i.invoice_id FOR UPDATE OF i;
    END IF;
    v_invoice := bill_lock(p_invoice_id);
    IF (p_amount > 0 AND p_amount < 1e12 AND p_amount = round(p_amount, minor_digits(p_currency))) IS NOT TRUE THEN
        RAISE EXCEPTION '% % is no amount to pay', p_amount, p_currency USING ERRCODE = 'SG104', HINT = format('Give an amount above 0, with at most %s decimals.', minor_digits(p_currency));
    END IF;
    -- A provider's clock may be ahead, and nobody sees money before it has come.
    IF p_provider = 'manual' AND p_occurred_at > p_now + INTERVAL '1 hour' THEN
        RAISE EXCEPTION 'no money came at %: that is still to be', p_occurred_at USING ERRCODE = 'SG104', HINT = 'Give the time at which it came.';
    END IF;
    INSERT INTO payment_transactions (invoice_id, kind, provider, provider_reference, amount, currency, status, method, recorded_by, actor, occurred_at,
                                      settled_at, created_at, updated_at)
    -- What was taken back had come.
    VALUES (p_invoice_id, 'payment', p_provider, p_reference, p_amount, p_currency, CASE p_status WHEN 'reversed' THEN 'succeeded' ELSE p_status END, p_method,
            p_recorded_by, bill_actor(), v_at, CASE WHEN p_status <> 'pending' THEN v_at END, p_now, p_now)
    ON CONFLICT ON CONSTRAINT payment_transactions_provider_key DO NOTHING
    RETURNING payment_transactions.payment_id INTO payment_id;
    created := payment_id IS NOT NULL;
    IF created THEN
        IF p_status IN ('succeeded', 'reversed') THEN
            PERFORM payment_post(payment_id, p_now);
        END IF;
        IF p_status = 'reversed' THEN
            PERFORM payment_reverse(payment_id, v_at, p_now);
        END IF;
        RETURN;
    END IF;
    SELECT t.* INTO STRICT v_there FROM payment_transactions t WHERE t.provider = p_provider AND t.provider_reference = p_reference FOR UPDATE;
    payment_id := v_there.payment_id;
    IF (v_there.invoice_id, v_there.amount, v_there.currency, v_there.kind) IS DISTINCT FROM (p_invoice_id, p_amount, p_currency, 'payment') THEN
        RAISE EXCEPTION '% told of payment % before, with another bill or amount', p_provider, p_reference USING ERRCODE = 'SG105', HINT = 'Nothing was changed.';
    END IF;
    IF p_status = 'pending' OR EXISTS (SELECT FROM ledger_postings p WHERE p.payment_id = v_there.payment_id AND p.kind = 'reversal') THEN
        RETURN;
    END IF;
    IF p_status IN ('succeeded', 'reversed') AND v_there.status <> 'succeeded' THEN
        UPDATE payment_transactions AS t SET status = 'succeeded', settled_at = greatest(v_at, t.occurred_at) WHERE t.payment_id = v_there.payment_id;
        PERFORM payment_post(v_there.payment_id, p_now);
    ELSIF p_status = 'failed' AND v_there.status = 'pending' OR p_status = v_there.status AND v_at > v_there.settled_at THEN
        UPDATE payment_transactions AS t SET status = p_status, settled_at = greatest(v_at, t.occurred_at) WHERE t.payment_id = v_there.payment_id;
    END IF;
    IF p_status = 'reversed' OR (v_there.status, p_status) = ('succeeded', 'failed') AND v_at > v_there.settled_at
       OR (v_there.status, p_status) = ('failed', 'succeeded') AND v_at < v_there.settled_at THEN
        PERFORM payment_reverse(v_there.payment_id, greatest(v_at, v_there.settled_at), p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION payment_record(bigint, text, text, numeric, text, text, text, integer, timestamptz, timestamptz) IS 'What a provider says of a payment: pending, succeeded, failed or, after it had come, reversed; one that failed after it succeeded is reversed too. The transaction, and whether this made it. Raises SG100, SG101 a draft, SG102 one''s own bill by hand, SG104 amount or currency, SG105 another payment by the same number, and as payment_reverse does';

CREATE OR REPLACE FUNCTION payment_take_back(p_invoice_id bigint, p_reference text, p_taken_by integer, p_at timestamptz, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_there payment_transactions;
BEGIN
    SELECT t.* INTO v_there FROM payment_transactions t
     WHERE (t.invoice_id, t.kind, t.provider, t.provider_reference) = (p_invoice_id, 'payment', 'manual', p_reference);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no payment % of this invoice was recorded by hand', p_reference
            USING ERRCODE = 'SG100', HINT = 'That a payment by a provider was taken back, the provider tells.';
    END IF;
    IF (SELECT i.user_id FROM invoices i WHERE i.invoice_id = p_invoice_id) IN (caller_id(), p_taken_by) THEN
        RAISE EXCEPTION 'payment % is of your own invoice', p_reference USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    PERFORM payment_record(p_invoice_id, 'manual', p_reference, v_there.amount, v_there.currency, 'reversed', v_there.method, v_there.recorded_by,
                           greatest(p_at, v_there.occurred_at), p_now);
    RETURN v_there.payment_id;
END
$$;
COMMENT ON FUNCTION payment_take_back(bigint, text, integer, timestamptz, timestamptz) IS 'payment_reverse() of money that was recorded by hand: a cheque or a transfer that the bank took back, or what never came. Again it changes nothing. Raises SG100, SG102 one''s own bill, and as payment_reverse does';

CREATE OR REPLACE FUNCTION payment_event(
    p_provider text, p_event_id text, p_sha256 bytea, p_invoice_number text, p_reference text, p_amount numeric, p_currency text, p_status text,
    p_occurred_at timestamptz, p_now timestamptz, OUT payment_id bigint, OUT repeated boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_there payment_events;
    v_invoice_id bigint;
BEGIN
    IF p_provider = 'manual' THEN
        RAISE EXCEPTION 'what is recorded by hand comes from no provider' USING ERRCODE = 'SG104';
    END IF;
    IF caller_id() IS NOT NULL THEN
        RAISE EXCEPTION 'a provider tells of payments, and nobody who is logged in' USING ERRCODE = 'SG070';
    END IF;
    PERFORM set_config('segs.actor', 'provider:' || p_provider, true);
    -- The second of two at the same instant waits here for the first.
    INSERT INTO payment_events (provider, event_id, message_sha256, received_at) VALUES (p_provider, p_event_id, encode(p_sha256, 'hex'), p_now) ON CONFLICT DO NOTHING;
    repeated := NOT FOUND;
    IF repeated THEN
        SELECT e.* INTO STRICT v_there FROM payment_events e WHERE e.provider = p_provider AND e.event_id = p_event_id;
        IF v_there.message_sha256 <> encode(p_sha256, 'hex') THEN
            RAISE EXCEPTION '% told of event % before, and otherwise', p_provider, p_event_id USING ERRCODE = 'SG105', HINT = 'Nothing was changed.';
        END IF;
        payment_id := v_there.payment_id;
        RETURN;
    END IF;
    SELECT i.invoice_id INTO v_invoice_id FROM invoices i WHERE i.invoice_number = p_invoice_number;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no invoice %', p_invoice_number USING ERRCODE = 'SG100';
    END IF;
    SELECT r.payment_id INTO payment_id
      FROM payment_record(v_invoice_id, p_provider, p_reference, p_amount, p_currency, p_status, NULL, NULL, p_occurred_at, p_now) AS r;
    UPDATE payment_events AS e SET payment_id = payment_event.payment_id WHERE e.provider = p_provider AND e.event_id = p_event_id;
END
$$;
COMMENT ON FUNCTION payment_event(text, text, bytea, text, text, numeric, text, text, timestamptz, timestamptz) IS 'An event of a provider whose signature was checked: it counts once. Raises SG070 in the name of a user, SG100 no such invoice, SG105 the same event or payment otherwise, and as payment_record does';

CREATE OR REPLACE FUNCTION credit_refund(p_invoice_id bigint, p_provider text, p_reference text, p_amount numeric, p_method text, p_recorded_by integer, p_now timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := bill_lock(p_invoice_id);
    v_credit numeric := credit_lock(v_invoice.user_id, v_invoice.currency);
    v_payment_id bigint;
BEGIN
    IF v_invoice.user_id IN (caller_id(), p_recorded_by) THEN
        RAISE EXCEPTION 'the credit of invoice % is your own', coalesce(v_invoice.invoice_number, p_invoice_id::text)
            USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    IF (p_amount > 0 AND p_amount <= v_credit AND p_amount = round(p_amount, minor_digits(v_invoice.currency))) IS NOT TRUE THEN
        RAISE EXCEPTION 'user % has % % to their credit: % cannot be refunded', v_invoice.user_id, v_credit, v_invoice.currency, p_amount
            USING ERRCODE = 'SG104', HINT = 'Give an amount above 0 and up to that.';
    END IF;
    INSERT INTO payment_transactions (invoice_id, kind, provider, provider_reference, amount, currency, status, method, recorded_by, actor, occurred_at,
                                      settled_at, created_at, updated_at)
    VALUES (p_invoice_id, 'refund', p_provider, p_reference, p_amount, v_invoice.currency, 'succeeded', p_method, p_recorded_by, bill_actor(), p_now, p_now, p_now, p_now)
    ON CONFLICT ON CONSTRAINT payment_transactions_provider_key DO NOTHING
    RETURNING payment_id INTO v_payment_id;
    IF v_payment_id IS NULL THEN
        RAISE EXCEPTION 'the reference % was used for another payment or refund', p_reference
            USING ERRCODE = 'SG105', HINT = 'Nothing was changed; give the number of this refund''s own receipt.';
    END IF;
    PERFORM post('refund', v_invoice, NULL, v_payment_id, p_now, 0, 0, -p_amount, p_amount);
    RETURN v_payment_id;
END
$$;
COMMENT ON FUNCTION credit_refund(bigint, text, text, numeric, text, integer, timestamptz) IS 'Money goes back out of the credit of a bill''s customer; raises SG100, SG102 one''s own, SG104 more than there is, SG105 a reference that is used';
GRANT EXECUTE ON FUNCTION payment_record(bigint, text, text, numeric, text, text, text, integer, timestamptz, timestamptz),
    payment_take_back(bigint, text, integer, timestamptz, timestamptz), payment_event(text, text, bytea, text, text, numeric, text, text, timestamptz, timestamptz),
    credit_refund(bigint, text, text, numeric, text, integer, timestamptz) TO segs_worker;
